"""Start our programs quickly: a process that has the libraries loaded forks them.

`server` is that process, `client` asks it, `child` turns a fork into the program that was asked
for, `programs` names these, and `place` says which server a process may use. Rules:

- The server has one thread, no event loop, no zmq context, no connection, no configuration and no
  secret. It never reads a request: the child does, so nothing of one program reaches another.
- Whatever a fork would inherit and a new process would not must be equal, or another server is
  used: see `place.identity`.
- The connection is the lease of a program: when the client goes away, its program ends.
- When there is no server, or it refuses, programs start plainly.

Linux only: it needs ``pidfd``, ``waitid`` and a signal at the parent's death.
"""
