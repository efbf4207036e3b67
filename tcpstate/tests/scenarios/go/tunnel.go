// A tunnel to an upstream server. `io.Copy` between two connections moves bytes by splice(), which is told of the end, too.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

//go:noinline
func pump(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		log.Print(err)
	}
}

//go:noinline
func tunnel(client net.Conn, upstream string) {
	server, err := net.Dial("tcp4", upstream)
	if err != nil {
		log.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		pump(client, server)
		close(answered)
	}()
	pump(server, client)
	// BUG: no server.CloseWrite(), so the server does not learn that nobody is there, and the answer never ends.
	<-answered
	client.Close()
	server.Close()
}

//go:noinline
func acceptLoop(listener net.Listener, upstream string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go tunnel(client, upstream)
	}
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("PORT %d\n", listener.Addr().(*net.TCPAddr).Port)
	acceptLoop(listener, os.Args[1])
}
