"""The one pipeline: ask for jobs, hand them out, report what became of them.

    reader / queue pump ──leases──► work link ──► executor ──outcome rows──► queue pump ──► server

A work link stands between the pump and the code that runs jobs: rings to other processes under the supervisor, plain
calls inside a `Worker`.
"""
