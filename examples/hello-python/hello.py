#!/usr/bin/python3
"""A plugin in Python: one module, HelloPython, with one function, greet.

It needs Debian's python3-grpcio and python3-msgpack and no generated code: the service's one
message is a field of bytes.
"""

import os
import sys
import threading
from concurrent import futures

import grpc
import msgpack

SERVICE = "liveapid.plugin.v1.Plugin"
UAPI = 3

MODULES = [{
    "name": "HelloPython",
    "help": "Greetings.",
    "functions": [{
        "api": UAPI, "name": "greet", "help": "Greet somebody.", "returns": "The greeting.",
        "roles": ["account"], "changes": False,
        "params": [{"name": "name", "type": "string", "required": True, "help": "Whom to greet."}],
    }],
}]


def varint(number):
    """Encode a number as protobuf does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def pack(document):
    """Return the message Payload that holds document."""
    raw = msgpack.packb(document)
    return b"\x0a" + varint(len(raw)) + raw


def unpack(message):
    """Return the document of a message Payload; text may come as bytes."""
    if not message:
        return {}
    if message[0] != 0x0A:
        raise ValueError("the message is no Payload")
    length, at, shift = 0, 1, 0
    while True:
        byte = message[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return msgpack.unpackb(message[at:at + length], strict_map_key=False)


def text(value):
    """Return an argument as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def describe(_request, _context):
    """Answer Describe."""
    return {"modules": MODULES}


def call(request, _context):
    """Answer Call: the host has checked the arguments against the description."""
    name = text(request["args"]["name"])
    if name == "nobody":
        return {"error": {"kind": "invalid", "message": "I do not greet nobody."}}
    return {"data": f"Hello, {name}! You are {request['account']['name']}."}


def serving(_request, _context):
    """Answer gRPC's health check, with which the host asks whether the plugin hangs."""
    return b"\x08\x01"


def method(function):
    """Make a handler of documents of a function."""
    return grpc.unary_unary_rpc_method_handler(
        function, request_deserializer=unpack, response_serializer=pack)


def main():
    """Serve until the host ends the process."""
    if os.environ.get("LIVEAPID_PLUGIN") is None:
        sys.exit("This is a plugin of liveapid: name it in the host's configuration.")
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8),
        options=[("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)])
    server.add_generic_rpc_handlers([
        grpc.method_handlers_generic_handler(SERVICE, {"Describe": method(describe), "Call": method(call)}),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(serving)}),
    ])
    # The host takes a socket in the directory that it names, and nowhere else.
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin.sock")
    server.add_insecure_port("unix:" + socket)
    server.start()
    print(f"1|1|unix|{socket}|grpc|", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
