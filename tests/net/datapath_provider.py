#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The providers' side: every TCP and UDP port given, on every address; records what arrives.

usage: datapath_provider.py LOG PORT...
TCP answers "provider PEER LOCAL PORT\\n" and echoes. Each piece of data is a line in LOG:
"tcp|udp PEER LOCAL PORT HEX".
"""
import asyncio
import socket
import sys

log = open(sys.argv[1], "a", buffering=1)


def clean(a):
    return a[7:] if a.startswith("::ffff:") else a


async def serve(reader, writer):
    peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    where = f"{clean(peer[0])} {clean(local[0])} {local[1]}"
    try:
        writer.write(f"provider {where}\n".encode())
        while True:
            data = await reader.read(65536)
            if not data:
                break
            log.write(f"tcp {where} {data[:64].hex()}\n")
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


class Udp(asyncio.DatagramProtocol):
    def __init__(self, port):
        self.port = port

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        log.write(f"udp {clean(peer[0])} - {self.port} {data[:64].hex()}\n")
        self.transport.sendto(b"udp " + data, peer)


async def main():
    loop = asyncio.get_running_loop()
    for port in map(int, sys.argv[2:]):
        s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", port))
        await asyncio.start_server(serve, sock=s)
        u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        u.bind(("::", port))
        await loop.create_datagram_endpoint(lambda p=port: Udp(p), sock=u)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
