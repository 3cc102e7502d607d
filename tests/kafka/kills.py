"""Jobs that are killed, or stopped, at random moments while records flow."""
import signal
import threading

from rig import expect

RECORDS = 200_000


def random_moment(rig, run, index):
    """Every third time inside the start, else while records come out."""
    if index % 3 == 0:
        threading.Event().wait(rig.random.uniform(0, 0.4))
        return
    run.wait_out(1)
    threading.Event().wait(rig.random.uniform(0, 0.5))


def more_to_do(rig, name, sender, count):
    """Each run needs records: on a slow machine the sender may be done early, and everything committed. How many there are now."""
    if sender.poll() is None:
        return count
    rig.produce(name, 1000, first=count)
    return count + 1000


def kill(rig, run, index, moment=random_moment):
    """At a random moment."""
    moment(rig, run, index)
    expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
    run.signal(signal.SIGKILL)
    run.end()


def interrupted(rig, name, job, times, *flags, end=kill, each=None):
    """Starts a job so many times while records flow and ends it by end(rig, run, index); each() follows. Then all that is left is done.
    How many records there were."""
    sender = rig.producing(name, RECORDS, RECORDS / (times * 0.9), *flags)
    count = RECORDS
    for index in range(times):
        count = more_to_do(rig, name, sender, count)
        run = rig.run(job)
        end(rig, run, index)
        run.close()
        if each:
            each()
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    return count


def group_lag(rig, group):
    """Partition -> lag, as Kafka's own tool sees it."""
    lags = {}
    for line in rig.kafka("ConsumerGroupCommand", "--describe", "--group", group).splitlines():
        words = line.split()
        if len(words) > 5 and words[0] == group:
            lags[int(words[2])] = words[5]
    return lags
