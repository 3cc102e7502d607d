#!/usr/bin/env bash
# The command line as scripts and people meet it: exit codes, which stream says what, suggestions, help of every command.
set -u
root=$PWD
cd "$(mktemp -d)" || exit 1
trap 'rm -rf "$PWD"' EXIT
failed=0

# expect CODE STREAM PATTERN ARGUMENT...: runs millrace; STREAM (out, err) must hold PATTERN, the exit code must be CODE.
expect() {
    local code=$1 stream=$2 pattern=$3 got
    shift 3
    "$MILLRACE" "$@" >out 2>err </dev/null
    got=$?
    if [[ $got -ne $code ]] || ! grep -qE -e "$pattern" "$stream"; then
        echo "millrace $*: exit $got, wanted $code and /$pattern/ in $stream"
        echo "--- stdout"; head -5 out; echo "--- stderr"; head -5 err
        failed=1
    fi
}
# The stream must be empty after the last expect.
silent() {
    [[ -s $1 ]] && { echo "something on $1:"; head -5 "$1"; failed=1; }
}

expect 0 out '^  run '; silent err
expect 0 out '^Exit codes' --help
expect 0 out '^Exit codes' help
expect 0 out '^  millrace check job.json' help check
expect 64 err 'no command "chekc"; did you mean "check"' chekc; silent out
expect 64 err 'no command "xyzzy"$' xyzzy
expect 64 err 'no command "xyzzy"' help xyzzy
expect 64 err 'no flag "--jsn"; did you mean "--json"' version --jsn
expect 64 err 'no flag "-z"' version -z
expect 64 err 'unexpected argument "b"' version b
expect 64 err 'needs JOB' check
expect 64 err 'expected true or false' version --json=maybe
expect 64 err 'did you mean "schema"' config shcema
expect 64 err 'show needs a job file' config show
expect 0 out '"librdkafka"' version --json; silent err
expect 0 out '^millrace [0-9]' --version
expect 0 out '^millrace [0-9]' --no-color version
expect 66 err 'No such file' check nothing.json; silent out
expect 66 err 'is a folder' check .

# Every command has help with examples first, on -h, --help and help NAME, whatever else stands there.
for command in $("$MILLRACE" | sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    expect 0 out '^Examples' "$command" --help
    expect 0 out '^Usage' "$command" nonsense --nonsense -h
    expect 0 out "^  millrace $command" help "$command"
    expect 64 err 'no flag "--nonsense"' "$command" --nonsense
    summary=$("$MILLRACE" help "$command" | head -1)
    [[ $summary == *. && ${#summary} -lt 90 ]] || { echo "$command: summary: $summary"; failed=1; }
done

expect 66 err 'nothing.txt: No such file' replay nothing.txt --topic t -b 127.0.0.1:1
expect 64 err '^millrace replay: --topic TOPIC is missing$' replay out

# A wrong job: findings on stderr, nothing on stdout; with --json the other way round.
printf '{ "job": "x", "sorces": 1 }\n' >bad.json
expect 78 err 'bad.json:1:15: sorces: unknown key' check bad.json; silent out
expect 78 err 'millrace check: bad.json: [0-9]+ errors' check bad.json
expect 78 out '"line":1,"column":15,"path":"sorces"' check --json bad.json
expect 78 err 'unknown key' config show bad.json; silent out
expect 78 err '<stdin>:1:1: the file is empty' check -
head -c 2000000 /dev/zero | tr '\0' ' ' >big.json
expect 78 err 'larger than' check big.json

# Memory that does not hold the lanes is refused before the run; trainer and scorers share it.
small() {
    cat >small.json <<END
{"job": "small", "memory": "$1", $2 "delivery": "exactly-once", "record": {"format": "json", "features": ["x"]},
 "source": {"type": "kafka", "topics": ["in"], "properties": {"bootstrap.servers": "localhost:1"}},
 "models": [{"name": "m", "type": "kmeans", "k": 3, "learn": true, "topic": "m"}],
 "emit": {"fields": {"y": "m.class"}}, "sinks": [{"type": "kafka", "topic": "out"}], "bad_records": {"topic": "dead"}}
END
}
small 16MiB '"scorers": 1,'
expect 78 err 'small.json:1:28: memory: trainer and scorers share it, an equal part for each of 2 lanes' check small.json
expect 78 err 'lower batch.records_max$' check small.json
least=$("$MILLRACE" check small.json 2>&1 | grep -o 'raise memory to [0-9]*MiB' | grep -o '[0-9]*MiB')
small "$least" '"scorers": 1,'
expect 0 out '^ok' check small.json
small 16MiB '"batch": {"records_max": 65536},'
expect 78 err 'memory: 16 MiB for 1 lane is too little' check small.json
small 64MiB ''
expect 0 out '^ok' check small.json

# A job is checked against its model file: an output that the model does not have, a width that does not fit, no file at all.
if [[ -e $root/datasets/temperature/regime.safetensors ]]; then
    cp "$root"/datasets/temperature/regime.safetensors .
    job() {
        cat <<JOB
{ "source": { "type": "kafka", "topics": ["in"], "properties": { "bootstrap.servers": "nowhere.invalid:1" } },
  "record": { "format": "json", "features": [$1] }, "models": [ { "name": "m", "type": "mlp", "file": "$2" } ],
  "emit": { "fields": { "y": "$3" } }, "sinks": [ { "type": "kafka", "topic": "out" } ], "bad_records": { "drop": true } }
JOB
    }
    job '"Temperature"' regime.safetensors m.class >job.json
    expect 0 out '^ok job.json: job: kafka -> json -> mlp -> kafka, 1 feature in, 1 field out$' check job.json; silent err
    expect 0 out '"ok":true' check --json job.json
    cp job.json good.json
    echo nonsense >nonsense
    expect 65 err 'none of its 1 records fits' bench job.json --rows nonsense; silent out
    # --until: what is no limit is refused before anything starts.
    for limit in inf nan -inf 1e300 1e300h 1.5 0 0s -1 0x10 1e16 8761h 1e-9s 5d ' 5' ''; do
        expect 64 err '^millrace run: --until ' run job.json --until "$limit"; silent out
    done
    expect 64 err 'cannot be counted' run job.json --feed - --until end; silent out
    expect 64 err '\-\-keys: a message of 2 lines has no key' replay job.json --topic t --keys --lines 2; silent out
    expect 64 err 'cannot be counted' run job.json --feed /dev/stdin --until end; silent out

    # -X makes one cluster of two: the job would feed on itself, which is seen before anything starts.
    sed 's/"topic": "out"/"topic": "in", "properties": { "bootstrap.servers": "127.0.0.1:9" }/' job.json >two.json
    expect 0 out '^ok two.json' check two.json
    expect 78 err 'sinks\[0\].topic: "in" is a topic that the job reads: it would feed on itself; write to another' \
        run two.json -X bootstrap.servers=127.0.0.1:1 --until 1s; silent out

    # Features and labels from message parts are those of the messages: lines have an offset, and no time.
    yes '{"Temperature":20}' | head -20 >parts
    sed 's/"features": \[/"label": "@offset", &/' job.json >parts.json
    expect 0 out '^decode ' bench parts.json --rows parts --repetitions 1
    sed -E 's/"features": \[[^]]*\]/"features": ["@timestamp"]/; s/"models": \[.*\]/"models": [{"name": "m", "type": "scaler", "learn": true}]/; s/m\.class/m.score/' job.json >parts.json
    expect 65 err 'none of its 20 records fits.*no key, headers and time' bench parts.json --rows parts --repetitions 1; silent out

    # A limit on the size of files is the file sink's error, not a death by SIGXFSZ.
    yes '{"Temperature":20}' | head -2000 >lines
    sed 's/nowhere.invalid:1/embedded/; s/"type": "kafka", "topic": "out"/"type": "file", "path": "out.jsonl"/' job.json >file.json
    (ulimit -f 4; "$MILLRACE" run file.json --feed lines --until end -q 2>&1 >/dev/null | cat >/dev/null; exit "${PIPESTATUS[0]}")
    got=$?
    [[ $got -eq 74 ]] || { echo "file size limit: exit $got, not 74"; failed=1; }

    # What the run would refuse at its start is seen without a network: properties that are millrace's, or that do not go together.
    exact() { sed "s/\"drop\": true }/& , \"delivery\": \"exactly-once\", \"commit_interval\": \"${2:-100ms}\"/; s/\"bootstrap.servers\"/$1, &/" good.json >exact.json; }
    for property in transactional.id enable.idempotence isolation.level enable.auto.commit enable.partition.eof auto.offset.reset delivery.report.only.error; do
        case $property in enable.idempotence) value=false ;; isolation.level) value=read_uncommitted ;; auto.offset.reset) value=latest ;; *) value=true ;; esac
        exact "\"$property\": \"$value\""
        expect 78 err "source.properties[^ ]*${property}[^ ]*: is set by millrace" check exact.json
        exact '"client.id": "c"'
        expect 78 err "source.properties: \"$property\" is set by millrace" run exact.json -X "$property=$value" --until 1s; silent out
    done
    for pair in '"acks": "1"' '"retries": "0"' '"max.in.flight": "10"'; do
        exact "$pair"
        expect 78 err 'source.properties: librdkafka makes no producer with transactions of these' check exact.json
    done
    exact '"socket.timeout.ms": "60000", "transaction.timeout.ms": "30000"'
    expect 78 err 'source.properties: .*socket.timeout.ms of 60000 is more than transaction.timeout.ms' check exact.json
    exact '"socket.timeout.ms": "120000"' # a transaction fits itself to it
    expect 0 out '^ok' check exact.json
    exact '"linger.ms": "900000"'
    expect 78 err 'librdkafka makes no producer with transactions of these: .*linger' check exact.json
    exact '"isolation.level": "read_committed", "enable.idempotence": "true", "security.protocol": "ssl", "ssl.ca.location": "nowhere.pem"'
    expect 0 out '^ok' check exact.json; silent err
    exact '"client.id": "c"' 9ms
    expect 78 err 'commit_interval: .*at least 10ms' check exact.json
    exact '"client.id": "c"' 1h
    expect 78 err 'commit_interval of 3600 s' check exact.json
    for interval in 10ms 50ms 20s; do
        exact '"client.id": "c"' $interval
        expect 0 err 'warning: commit_interval: .*100ms to 1s is usual|warning.*commit_interval' check exact.json
    done
    # One mistake, one error: what follows from a value that is wrong is not told.
    sed 's/"type": "mlp", "file": "regime.safetensors"/"type": "kmeans", "k": 3, "learn": true, "topic": "t"/; s/"drop": true }/& , "delivery": "exactly-one"/' good.json >one.json
    expect 78 err 'one.json: 1 error$' check one.json

    job '"Temperature"' regime.safetensors m.clas >job.json
    expect 78 err 'job.json:3:30: emit.fields.y: .*did you mean "m.class"' check job.json
    job '"a", "b"' regime.safetensors m.class >job.json
    expect 78 err 'job.json:2:[0-9]+: models\[0\]: .*takes 1 feature' check job.json
    job '"Temperature"' no.safetensors m.class >job.json
    expect 78 err 'job.json:2:[0-9]+: models\[0\].file: .*No such file' check job.json
    head -c 200 regime.safetensors >short.safetensors
    job '"Temperature"' short.safetensors m.class >job.json
    expect 78 err 'models\[0\].file: .*short.safetensors' check job.json
fi

# No colours in files, and none that were forbidden.
for word in 'check bad.json' '--help' 'version'; do
    # shellcheck disable=SC2086
    "$MILLRACE" $word >out 2>&1
    grep -q $'\033' out && { echo "colours in a file: $word"; failed=1; }
done

# A result that a full disk or a closed stdout takes is an error of output, not a silent loss.
lost() { # exit code, what happened to stdout, arguments
    local got=$1 how=$2
    shift 2
    if [[ $got -ne 74 ]] || ! grep -q 'cannot write the result to stdout: ' err; then
        echo "millrace $* with a $how stdout: exit $got, wanted 74 and a word on stderr"; head -3 err; failed=1
    fi
}
results=('' --help --version help 'help run' 'check --help' version 'version --json' backends 'backends --json'
    'config schema' 'config reference' 'completion bash' 'completion zsh' 'completion fish')
[[ ! -e regime.safetensors ]] || results+=('inspect regime.safetensors' 'inspect regime.safetensors --json'
    'check good.json' 'check good.json --json' 'config show good.json')
for words in "${results[@]}"; do
    # shellcheck disable=SC2086
    if [[ -e /dev/full ]]; then "$MILLRACE" $words >/dev/full 2>err; lost $? full "$words"; fi
    # shellcheck disable=SC2086
    "$MILLRACE" $words >&- 2>err; lost $? closed "$words"
done
"$MILLRACE" check bad.json >&- 2>err
[[ $? -eq 78 ]] || { echo "a command that says nothing on stdout must not care that it is closed"; failed=1; }
if [[ -e regime.safetensors ]]; then
    printf '{"Temperature":20}\n' | "$MILLRACE" score regime.safetensors >&- 2>err
    [[ $? -eq 74 ]] || { echo "score with a closed stdout: exit code is not 74"; cat err; failed=1; }
    "$MILLRACE" score regime.safetensors <&- >out 2>err
    [[ $? -eq 66 ]] || { echo "score with a closed stdin: exit code is not 66"; cat err; failed=1; }
fi

# Every codec of the registry is a format of score, as it is of a job file.
for codec in $("$MILLRACE" config reference | sed -n 's/^### format \([a-z0-9_]*\)$/\1/p'); do
    expect 66 err 'nowhere' score nowhere --format "$codec"
done

# Completions: the scripts parse, and bash's really completes.
for shell in bash zsh fish; do
    "$MILLRACE" completion $shell >completion.$shell || failed=1
    if command -v $shell >/dev/null; then $shell -n completion.$shell || { echo "$shell: syntax"; failed=1; }; fi
done
completed() {
    bash -c 'source ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace; echo "${COMPREPLY[*]}"' _ "$@"
}
[[ $(completed millrace ch) == check ]] || { echo "completion of ch: $(completed millrace ch)"; failed=1; }
[[ $(completed millrace config sch) == schema ]] || { echo "completion of config sch"; failed=1; }
[[ $(completed millrace check --js) == --json ]] || { echo "completion of --js"; failed=1; }
[[ $(completed millrace check ba) == bad.json ]] || { echo "completion of a file"; failed=1; }
[[ $(completed millrace help vers) == version ]] || { echo "completion of help vers"; failed=1; }

exit $failed
