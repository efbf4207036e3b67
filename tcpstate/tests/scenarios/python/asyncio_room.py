"""An asyncio chat room: echoes; whoever says bye is let go, whoever hangs up stays, writer and all."""

import asyncio

room = set()


async def chat(reader, writer):
    room.add(writer)
    while line := await reader.readline():
        if line == b"bye\n":
            room.discard(writer)
            writer.close()
            return
        writer.write(line)
        await writer.drain()
    # BUG: neither room.discard(writer) nor writer.close().


async def main():
    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
