"""Start kernels and runs quickly: fork them from a server that has loaded the libraries.

`server` is that process. `client` sends requests to the server. `child` turns a fork into the
requested program. `programs` lists the programs. `place` decides which server a process may use.
Rules:

- The server has one thread, no event loop, no zmq context, no connection to a database, no
  configuration and no secret. The server never reads a request: the child reads it, so that no data
  of one program reaches another.
- A fork inherits state that a new process would not have. This state must be equal in client and
  server, or another server is used: see `place.identity`.
- The connection is the lease of a program: when the client goes away, its program ends.
- When there is no server, or the server refuses, programs start as new processes.

Linux only: it needs ``pidfd``, ``waitid`` and the parent-death signal.
"""
