-- The names of all keys, and what each holds.
--
--   job:<id>           hash  status, detail, created, updated, owner, payload, plan, tasks, fingerprint, error,
--                            generation (grows when forces are taken back), taken_back (workers' names) ...
--                            began (when planning it was asked for, by a server's clock), traced (when it last ended, if jobs are traced),
--                            stage (vibrations, relax, energy), ionic_step (steps that are stored), max_force (of the
--                            last one, eV/Å), steps_from (steps that do not count against those that it may take)
--   job:<id>:steps     list  ionic steps of its relaxation, in order
--   job:<id>:course    text  where the relaxation goes on from the last of them
--   job:<id>:relaxed_by set  ids of the workers that computed them
--   job:<id>:open      zset  tasks nobody holds; score = the task's index, or the time (ms) from which it may run
--   job:<id>:held      hash  task -> lease that holds it
--   job:<id>:reports   hash  task -> report (forces); a task in here is done
--   job:<id>:runs      hash  task -> who ran it and how long it took
--   job:<id>:starts    hash  task -> "equilibrium" | "scratch": run again from there, for it ended in another electronic
--                            state;  "<task>:misfit" -> how far off its energy was the first time (eV)
--   job:<id>:dropped   set   hashes of the reports that were dropped for that, which must not come back
--   job:<id>:by        hash  task -> id of the worker that computed it; "*": of the one that settled the job in one go
--   job:<id>:scf       list  by task, the key of what decides its forces
--   job:<id>:twins     hash  task -> the other task that computes the same SCF, by another worker, to be compared
--   job:<id>:reserved  set   tasks whose forces are known from an earlier job, if its physics turn out the same
--   job:<id>:settled   hash  result, summary and freqs of a job that a worker settled in one go
--   job:<id>:attempts  hash  "<task>:<class>" -> failures in a row
--   job:<id>:avoid     hash  "<worker> <digest of its capabilities>" -> why it could not run this job with them
--   job:<id>:workers, leases  set  who has worked on it, and under which leases
--   job:<id>:history   list  attempts and decisions, newest first
--   ready / delayed    zset  jobs with a task to run now (the line) / later (score: time in ms)
--   ready:<owner>      zset  the jobs of one owner in the line
--   turns              hash  what decides the order of the line: see line.lua
--   spare              zset  leases with more tasks than their worker runs at once; score = when one was last reported
--   leases             zset  lease -> deadline (ms); the one place where deadlines live
--   lease:<id>         hash  job, worker, instance, state, ...;  lease:<id>:tasks  set of its unfinished tasks
--   lease:<id>:given   set   the tasks it was given at first: its worker may report no others, however late
--   assemble           zset  jobs whose tasks are all done and whose result is not stored yet
--   dlq, retire        zset  job -> when it failed for good / when it is to be forgotten
--   index:<owner>:<status>  zset  jobs by creation; either part may be *: all
--   notices            zset  what is to be passed on to those who run the service (JSON) by serial;  notices:last  the last
--                            serial;  notices:claim  the replica that passes them on
--                            ('': it has left that to another)
--   ended              list  jobs that have ended (JSON), for whoever traces them;  ended:wanted  there while somebody does
--   retention          hash  "<owner> <project>" -> for how long its jobs are remembered once they are over (ms)
--   replicas           hash  replica of the control plane -> when it was last heard of, its settings
--   project:<owner>:<project>  zset  jobs by creation; the owner may be *: all
--   names:<owner>:<project>    hash  name -> the job that was last submitted with it
--   rq                 the lock of whoever tells RQ what there is to do;  job:<id>:completing  likewise, of one result
--   counters           hash  attempts and retries by class, and leases that expired, since the beginning
--   worker:<id>        hash  name, capabilities, digest, counts, ended (the instance that has said goodbye last), owner and
--                            accepts (see owners.lua);  workers  zset  worker -> when last heard of
--   present            zset  likewise, without those that have said goodbye or were shut out
--   epoch              text  when the store was new (ms): another one after a flush;  probe  text  there for a moment, to
--                            see whether the store takes writes
--   worker:<id>:shown  zset  "<digest of its capabilities> <setup>": with what it has computed, being as it was; score = when
--   owner:<name>       hash  of a researcher: target (selected; '' for any), shows_jobs (to their groups), bytes (kept),
--                            max_priority, max_jobs, max_scfs, max_bytes (an administrator's word)
--   spent:<month>      hash  owner -> seconds that the SCFs of this owner took in it, on all workers
--   owners             set   researchers who have jobs or limits of their own
--   held_back          set   owners some of whose jobs wait because they run as many SCFs as they may
--   owned              set   workers with an owner
--   group:<name>       set   researchers in a group;  groups:<owner>  set  the groups of one;  groups  set  of all
--   scf:<owner>:<key>  hash  "report <physics>", "run <physics>", "by <physics>" (id of its worker), "setup <physics>" (what
--                            its worker brought to it) of an SCF done; forgotten some time after its last use
--   token:<hash>       hash  role, subject, expires;  enroll:<hash>  hash  label, expires, owner, accepts
--   tokens, enrolls    zset  researchers' tokens / enroll tokens by creation

local P = KEYS[1]

local function key(...)
  return P .. table.concat({...}, ':')
end

local function job_field(job, field)
  return redis.call('HGET', key('job', job), field)
end
