#!/usr/bin/env bash
# scripts/kafka: two brokers side by side, a crash that keeps the data, a clear end, a cluster whose nodes come and go, and errors that say what is wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "FAIL: $*" >&2; exit 1; }
code_of() { local code=0; "$@" >/dev/null 2>&1 || code=$?; echo "$code"; }

scripts/kafka fetch || exit $? # 77 where Java or the jars cannot be had
work=$(mktemp -d)
# shellcheck disable=SC2154 # b is set in the trap itself
trap 'for b in a b c d; do scripts/kafka stop --dir "$work/$b" --kill --clean; done; rm -rf "$work"' EXIT

one=$(scripts/kafka start --dir "$work/a")
two=$(scripts/kafka start --dir "$work/b" --set message.max.bytes=2000000)
[ "$one" != "$two" ] || fail "both brokers say $one"
[ "$(scripts/kafka start --dir "$work/a")" = "$one" ] || fail "a second start of a running broker gave another address"
[[ $(scripts/kafka status --dir "$work/a") = "$one pid "* ]] || fail "status does not name $one"

scripts/kafka run TopicCommand --bootstrap-server "$one" --create --topic kept --partitions 3 >/dev/null
scripts/kafka stop --dir "$work/a" --kill
[ "$(code_of scripts/kafka status --dir "$work/a")" = 1 ] || fail "status of a killed broker is not 1"
[ "$(scripts/kafka start --dir "$work/a")" = "$one" ] || fail "after a crash the broker came back at another address"
topics=$(scripts/kafka run TopicCommand --bootstrap-server "$one" --list)
[ "$topics" = kept ] || fail "after a crash the topics are \"$topics\", not \"kept\""
[ -z "$(scripts/kafka run TopicCommand --bootstrap-server "$two" --list)" ] || fail "the brokers share their topics"

# A port that is taken, asked for by name: no broker, exit 69.
[ "$(code_of scripts/kafka start --dir "$work/c" --port "${one##*:}")" = 69 ] || fail "a taken port did not end with 69"
[ "$(code_of scripts/kafka start --colour)" = 64 ] || fail "an unknown option did not end with 64"

[ "$(code_of scripts/kafka start --dir "$work/a" --node 2)" = 64 ] || fail "a node of what is no cluster did not end with 64"

# A cluster: each node on its own, and a topic that lives while one of them is away.
many=$(scripts/kafka start --dir "$work/d" --nodes 3)
[ "$(tr ',' '\n' <<<"$many" | sort -u | wc -l)" = 3 ] || fail "three nodes at \"$many\""
[ "$(scripts/kafka listeners --dir "$work/d")" = "$many" ] || fail "without a proxy, the nodes listen elsewhere than at $many"
scripts/kafka run TopicCommand --bootstrap-server "$many" --create --topic wide --partitions 1 >/dev/null
[ "$(code_of scripts/kafka start --dir "$work/d" --nodes 2)" = 64 ] || fail "a cluster of three was started as one of two"
scripts/kafka stop --dir "$work/d" --node 2
[ "$(code_of scripts/kafka status --dir "$work/d")" = 1 ] || fail "status is not 1 with a node down"
topics=$(scripts/kafka run TopicCommand --bootstrap-server "$many" --describe --topic wide)
[[ $topics = *"ReplicationFactor: 3"*min.insync.replicas=2* ]] || fail "a topic of the cluster: $topics"
scripts/kafka start --dir "$work/d" --node 2 >/dev/null
[ "$(scripts/kafka status --dir "$work/d" | grep -c '^node [123]: ')" = 3 ] || fail "status does not name three nodes"
scripts/kafka stop --dir "$work/d" --kill --clean
[ ! -e "$work/d" ] || fail "stop --clean left $work/d"

scripts/kafka stop --dir "$work/a" --clean
[ ! -e "$work/a" ] || fail "stop --clean left $work/a"
echo "two brokers, a crash, a cluster and the errors: as they should be"
