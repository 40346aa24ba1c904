"""The module <%.Name%>. Edit it: a host in personal mode serves each change at the next call."""

import liveapi

module = liveapi.Module("<%.Name%>", help="Greetings.")


@module.uapi(
    "greet",
    help="Greet a person.",
    returns="The greeting.",
    example={"greeting": "Hello, World! You are alice."},
    params=[{"name": "name", "required": True, "help": "The name of the person."}],
)
def greet(call):
    name = call.args["name"]
    if len(name) > 80:
        call.fail("The ‘name’ argument must have at most 80 characters.")
    return {"greeting": f"Hello, {name}! You are {call.account['name']}."}


if __name__ == "__main__":
    module.serve()
