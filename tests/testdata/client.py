"""A LiveAPI client as plugins have it: lengths in characters, answers read line by line,
an empty apiversion for a feature, a shutdown without a length."""
import json
import os
import socket


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(os.environ["CPANEL_CONNECT_SOCKET"])
    return s, s.makefile("r", encoding="utf-8")


def send(s, text):
    s.sendall(("%d\n%s" % (len(text), text)).encode("utf-8"))


def answer(lines):
    text = ""
    for line in lines:
        text += line
        if "</cpanelresult>" in line:
            break
    return json.loads(text.split("<cpanelresult>", 1)[1].split("</cpanelresult>", 1)[0])


def call(s, lines, **action):
    send(s, "<cpanelaction>\n%s\n</cpanelaction>" % json.dumps(action, ensure_ascii=False))
    return answer(lines)


s, lines = connect()
send(s, '<cpaneljson enable="1">')
assert answer(lines) == {"data": {"result": "json"}}
for password in ("päß 😀 …", "12345luggage", "ünïcödé " * 8):
    result = call(s, lines, reqtype="exec", module="Email", func="passwdpop", apiversion="2",
                  args={"domain": "example.com", "email": "user", "password": password})
    assert result["cpanelresult"]["data"][0]["result"] == 1, result
    result = call(s, lines, reqtype="exec", module="Email", func="verify_password", apiversion="3",
                  args={"email": "user@example.com", "password": password})
    assert result["result"]["data"] == 1, result
assert call(s, lines, reqtype="feature", module="feature", func="feature", apiversion="",
            args="fileman")["cpanelresult"]["data"]["result"] == 1
assert call(s, lines, reqtype="exec", module="print", func="", apiversion="1",
            args=["$user"])["data"]["result"] == "demo"
s.shutdown(socket.SHUT_WR)  # Half-close.
assert lines.read() == ""

s, lines = connect()
s.sendall(b'<cpanelxml shutdown="1" />')
s.close()

s, lines = connect()
frame = b'23\n<cpaneljson enable="1">'
for byte in frame + frame:  # One byte at a time, two frames.
    s.sendall(bytes([byte]))
assert answer(lines) == answer(lines) == {"data": {"result": "json"}}
print("ok")
