"""Random calls of every native operator: whatever the arguments, an exception at worst.

`arguments` makes arguments from a signature, `targets` lists what is called, `check` calls and looks at what changed,
`__main__` is the worker process that the tests watch: a crash or a hang there names the call.

One call again:  python -m tests.sturdy OPERATOR CASE
"""
