"""The job's way, from the source to the final report.

Threads of a pilot, however many jobs run; they talk through the loop's inbox (`Loop.post`):

| thread      | what it does                                | what it never does                          |
|-------------|---------------------------------------------|---------------------------------------------|
| main        | decides, writes the PilotDB, starts and ends payloads | waits for anything but its selector |
| acquire-0   | asks the source for jobs                    | touches the PilotDB or a job's state         |
| report-0    | tells the source what the outbox holds      | touches the PilotDB or a job's state         |
| monitor     | samples all payloads                        | signals a process, touches the PilotDB       |
| disk-N      | reads and walks job directories, writes prmon's files | signals a process, touches the PilotDB |
| staging-N   | moves files, makes archives, cleans up      | touches the PilotDB or a job's state         |

`staging-N` start as they are needed: as many as `staging_threads` says (2) bring inputs, as many send outputs, two
do what else takes time. With a payload channel open there is one more, `events`.
While debuggers look at a payload that loops there is `stacks`.
On a kernel without pidfds (older than 5.3) there is one more for each process that is waited for, `wait-PID`.
"""
