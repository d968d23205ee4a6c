"""Execute actions that people approved: exactly what they saw, and at most once.

A kernel can only propose. Its proposal names an action and its targets; the statements are computed
here, and are sent with the role for actions of the connection. rbkernel does not give the password
of this role to kernels. That is no boundary against a notebook whose OS user can read it.

Ordering rules of an action: its preview is recorded, then each approval, then the intent to execute
it, then its outcome. Each is on disk before the next step. The intent is written under the lock of
the evidence folder, after a check of the record, so that of two processes only one executes. If a
process is killed after the intent, the outcome is unknown; nothing is tried again.
"""
