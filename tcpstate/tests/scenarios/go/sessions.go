// A goroutine for each connection; after the end of file the connection stays in a registry
// that nobody empties.
package main

import (
	"fmt"
	"log"
	"net"
	"sync"
)

var (
	lock     sync.Mutex
	registry []net.Conn
)

//go:noinline
func readToEnd(conn net.Conn) {
	buffer := make([]byte, 1024)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}

//go:noinline
func handleConn(conn net.Conn) {
	readToEnd(conn)
	lock.Lock()
	defer lock.Unlock()
	// BUG: no conn.Close().
	registry = append(registry, conn)
}

//go:noinline
func acceptLoop(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go handleConn(conn)
	}
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("PORT %d\n", listener.Addr().(*net.TCPAddr).Port)
	acceptLoop(listener)
}
