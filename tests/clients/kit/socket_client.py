"""A client of the socket by Python's websockets, steered by lines of JSON.

    python socket_client.py URL SUBPROTOCOL...

Takes commands on standard input: {"send": TEXT}, {"fragments": [TEXT, ...]}, {"bytes": HEX}, {"ping": true} and
{"close": CODE}. Prints what happens: {"open": SUBPROTOCOL} or {"refused": STATUS, "body": TEXT}, {"frame": TEXT},
{"pong": true}, and at the end {"closed": CODE}.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def tell(event):
    print(json.dumps(event), flush=True)


async def obey(socket, commands):
    while line := await commands.readline():
        match json.loads(line):
            case {"send": text}:
                await socket.send(text)
            case {"fragments": texts}:
                await socket.send(texts)
            case {"bytes": digits}:
                await socket.send(bytes.fromhex(digits))
            case {"ping": _}:
                await (await socket.ping(b"are you there"))
                tell({"pong": True})
            case {"close": code}:
                await socket.close(code)


async def standard_input():
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main(url, *subprotocols):
    try:
        # proxy: nothing that the environment names stands between
        socket = await connect(url, subprotocols=subprotocols, proxy=None)
    except InvalidStatus as refusal:
        tell({"refused": refusal.response.status_code, "body": refusal.response.body.decode()})
        return
    tell({"open": socket.subprotocol})
    obeying = asyncio.create_task(obey(socket, await standard_input()))
    try:
        while True:
            tell({"frame": await socket.recv(decode=True)})
    except ConnectionClosed:
        tell({"closed": socket.close_code})
    obeying.cancel()


asyncio.run(main(*sys.argv[1:]))
