"""Tests of the module <%.Name%>."""

import unittest

from module import module


def call(function, **args):
    account = {"name": "alice", "home": "/home/alice", "domains": ["example.com"]}
    return module.answer({"call": {
        "id": "test", "api": 3, "module": "<%.Name%>", "func": function, "args": args, "role": "account", "account": account,
    }})


class TestGreet(unittest.TestCase):
    def test_greeting(self):
        self.assertEqual(call("greet", name="Zoe")["data"], {"greeting": "Hello, Zoe! You are alice."})

    def test_long_name(self):
        self.assertEqual(call("greet", name="x" * 81)["error"]["kind"], "invalid")


if __name__ == "__main__":
    unittest.main()
