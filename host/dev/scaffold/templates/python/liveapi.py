"""Serves a module of liveapid that is written in Python. It needs Python 3.7 and nothing else.

A function gets a Call and returns the data of the answer: None, booleans, numbers, strings, bytes, lists and
dictionaries. If it raises an exception, the exception goes to the host's log.
"""

import base64
import json
import os
import sys
import traceback

_APIS = {"api1": 1, "api2": 2, "uapi": 3}
_KEYS = {"help", "returns", "example", "params", "roles", "changes", "feature", "open"}
_PARAM_KEYS = {"name", "type", "required", "help"}
_KINDS = {"invalid", "not_found", "failed", "denied", "unavailable"}


class Failure(Exception):
    """An error whose message is for the caller."""

    def __init__(self, message, kind="invalid"):
        super().__init__(message)
        self.kind = kind


class Call:
    """A call of a function: args, account, role and id are as the host sent them."""

    def __init__(self, request):
        self.api = request.get("api")
        self.args = request.get("args") or {}
        self.account = request.get("account") or {}
        self.role = request.get("role", "")
        self.id = request.get("id", "")
        self.messages, self.warnings, self.metadata = [], [], {}

    def fail(self, message, kind="invalid"):
        """Ends the call with an error message for the caller."""
        if kind not in _KINDS:
            raise ValueError(f"fail: unknown kind {kind}: the kinds are {', '.join(sorted(_KINDS))}")
        raise Failure(message, kind)

    def done(self):
        """Returns the data of a function without data: in API 2 a record of success, otherwise None."""
        return [{"result": 1, "reason": " ".join(self.warnings)}] if self.api == 2 else None


class Module:
    """A module: its functions are added with the decorators uapi, api2 and api1."""

    def __init__(self, name, help=""):
        self.name, self.help = name, help
        self.functions, self.configure = [], None

    def uapi(self, name, **about):
        return self._add("uapi", name, about)

    def api2(self, name, **about):
        return self._add("api2", name, about)

    def api1(self, name, **about):
        return self._add("api1", name, about)

    def _add(self, api, name, about):
        _only(f"the function {name}", about, _KEYS)
        for param in about.get("params", []):
            _only(f"the function {name}: a parameter", param, _PARAM_KEYS)

        def add(do):
            code = do.__code__
            self.functions.append((do, {
                "roles": ["account"], "params": [], **about, "api": _APIS[api], "name": name,
                "source": f"{code.co_filename} line {code.co_firstlineno}",
            }))
            return do

        return add

    def answer(self, document):
        """Returns the answer to one document of the host."""
        if "describe" in document:
            if self.configure:
                try:
                    self.configure((document["describe"] or {}).get("settings") or {})
                except Failure as failure:
                    return _error("invalid", str(failure))
            return {"modules": [{"name": self.name, "help": self.help, "functions": [about for _, about in self.functions]}]}
        request = document["call"]
        for do, about in self.functions:
            if (about["api"], about["name"]) == (request["api"], request["func"]):
                return _run(do, request)
        return _error("internal", "", f"the module has no function {request['func']}")

    def serve(self):
        """Serves calls until the host ends the script."""
        if "LIVEAPI_MODULE" not in os.environ:
            sys.exit("The host starts a module: put this directory into the modules directory, and call the module.")
        # Text that the module prints must not mix with the answers.
        source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)
        while True:
            line = source.readline()
            if not line:
                return
            document = _plain(json.loads(source.read(int(line)).decode("utf-8")))
            answer = self.answer(document)
            if "call" in document:
                answer["id"] = document["call"]["id"]
            text = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode("utf-8")
            target.write(b"%d\n%s" % (len(text), text))
            target.flush()


def _only(where, given, known):
    for key in sorted(set(given) - known):
        raise TypeError(f"{where}: unknown key {key}: the keys are {', '.join(sorted(known))}")


def _run(do, request):
    call = Call(request)
    try:
        answer = {"data": do(call), "messages": call.messages, "warnings": call.warnings}
        if call.metadata:
            answer["metadata"] = call.metadata
        answer = _sent(answer)
        json.dumps(answer, allow_nan=False)
        return answer
    except Failure as failure:
        return _error(failure.kind, str(failure))
    except Exception as fault:  # Any fault ends only its own call.
        frames = traceback.extract_tb(fault.__traceback__)
        place = next((f" in {f.filename} line {f.lineno}" for f in reversed(frames) if f.filename != __file__), "")
        return _error("internal", "", f"{type(fault).__name__}: {fault}{place}")


def _error(kind, message, cause=""):
    error = {"kind": kind, "message": message}
    return {"error": {**error, "cause": cause} if cause else error}


def _plain(value):
    """Decodes strings that are not UTF-8: they become bytes."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"$base64"}:
            return base64.b64decode(value["$base64"])
        return {key: _plain(item) for key, item in value.items()}
    return value


def _sent(value):
    """Encodes bytes that are not UTF-8, and refuses types that can't be sent."""
    if isinstance(value, (list, tuple)):
        return [_sent(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _sent(item) for key, item in value.items()}
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"$base64": base64.b64encode(value).decode("ascii")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"the result: a value of type {type(value).__name__} can't be sent: "
                    "use None, booleans, numbers, strings, bytes, lists and dictionaries")
