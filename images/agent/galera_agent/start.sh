#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Starts mariadbd as the agent decides. Runs in an unmodified MariaDB image as its process 1; the agent puts it here.
set -euo pipefail

agent=$GALERA_RUNDIR/agent.sock
tmp=${TMPDIR:-/tmp}
request=$tmp/galera.request
answer=$tmp/galera.answer
log=$tmp/galera.log
fresh=$GALERA_DATADIR.new
SHORTEST_RUN=5 # seconds

# Process 1 gets no signal that it does not ask for, and bash runs a trap only between commands: hence `run`.
child=
serving=
stopping=
interrupted=
stop() {
    [ -n "$serving" ] || trap - TERM INT
    stopping=yes interrupted=yes
    if [ -n "$serving" ]; then
        end_server
    else
        [ -z "$child" ] || kill "$child" 2>/dev/null || true
        exit 143
    fi
}
trap stop TERM INT

run() {
    # Without the redirection bash gives a background command no input.
    "$@" <&0 &
    child=$!
    local code=0
    wait "$child" || code=$?
    child=
    return "$code"
}

say() { echo "galera start: $*" >&2; }

# The answer to standard input's request, as words in `reply`. A restarted agent knows nothing of an earlier request:
# then the caller has to begin again.
ask() {
    reply=()
    run socat -t 31536000 - "UNIX-CONNECT:$agent" <"$1" >"$answer" 2>/dev/null || return 1
    mapfile -d '' -t reply <"$answer"
    [ "${#reply[@]}" -ge 2 ] && [ "${reply[-1]}" = end ] || return 1
    unset 'reply[-1]'
}

recover() {
    local code=0
    # Without an address the server refuses the method of state transfer; it connects to nobody here. The binary log stays
    # on where there is one: with it a transaction counts as committed when it stands there, and InnoDB holds it only as
    # prepared. Recovery without it rolls back what was acknowledged.
    run mariadbd --defaults-file="$GALERA_CNF" --datadir="$GALERA_DATADIR" --pid-file="$tmp/recover.pid" \
        --socket="$tmp/recover.sock" --skip-networking --wsrep-recover --wsrep_cluster_address=gcomm:// \
        --skip-log-error "${log_bin[@]}" "${extra[@]}" >"$log" 2>&1 || code=$?
    [ "$code" = 0 ] || tail -n 50 "$log" >&2
    {
        echo recovered
        echo "$code"
        grep -a 'Recovered position' "$log" || true
        tail -c 16384 "$log"
    } >"$request"
}

# Made beside its place and renamed: a kill leaves nothing that looks like data.
initialise() {
    local code=0
    rm -rf "$fresh"
    run mariadb-install-db --defaults-file="$GALERA_CNF" --datadir="$fresh" --extra-file="$1" --wsrep-on=OFF \
        --cross-bootstrap --skip-name-resolve --skip-test-db --skip-log-bin --skip-log-error \
        --auth-root-authentication-method=socket --auth-root-socket-user=mysql >"$log" 2>&1 || code=$?
    rm -f "$1"
    if [ "$code" = 0 ] && sync -f "$fresh" && rename; then
        echo initialised >"$request"
    else
        tail -n 50 "$log" >&2
        { echo failed; tail -c 16384 "$log"; } >"$request"
    fi
}

rename() {
    mkdir -p "$GALERA_DATADIR"
    # What may lie there is no data (the agent has looked): the rename needs an empty directory.
    find "$GALERA_DATADIR" -mindepth 1 -delete && mv -T "$fresh" "$GALERA_DATADIR" && sync -f "$GALERA_DATADIR"
}

# The provider's place differs between distributions; one that my.cnf names is used.
provider() {
    grep -Eqs '^[[:space:]]*(loose[-_])?wsrep[-_]provider[[:space:]]*=' "$GALERA_CNF" && return
    local path
    for path in /usr/lib/galera/libgalera_smm.so /usr/lib/libgalera_smm.so /usr/lib64/galera-4/libgalera_smm.so; do
        if [ -e "$path" ]; then echo "--wsrep_provider=$path"; return; fi
    done
}

# A binary log that was in use when the server was killed is needed once more, even if my.cnf has none any more.
last_binlog() {
    grep -Eqs '^[[:space:]]*(loose[-_])?log[-_]bin[[:space:]]*(=|$)' "$GALERA_CNF" && return
    local index newest=
    for index in "$GALERA_DATADIR"/*.index; do
        case $index in *relay*) continue ;; esac
        if [ -f "$index" ] && { [ -z "$newest" ] || [ "$index" -nt "$newest" ]; }; then newest=$index; fi
    done
    [ -z "$newest" ] || echo "--log-bin=${newest%.index}"
}

# What a server that was killed left behind, such as one side of a state transfer, ends with it; a container's end would do
# the same. Only inside a container, where nothing but this server's processes is in reach.
end_leftovers() { [ "$$" != 1 ] || kill -KILL -1 2>/dev/null || true; }

# Asks the agent until it says how the server is to start: its arguments are in `reply` then.
decide() {
    rm -rf "$fresh"
    mapfile -t log_bin < <(last_binlog)
    echo start >"$request"
    while true; do
        if ! ask "$request"; then
            echo start >"$request"
            run sleep 0.2
            continue
        fi
        case ${reply[0]} in
            recover) recover ;;
            initialise) initialise "${reply[1]}" ;;
            again) echo start >"$request" ;;
            exec) break ;;
            *) say "the agent said: ${reply[*]}"; echo start >"$request"; run sleep 1 ;;
        esac
    done
}

# Whether a state transfer fills the volume: its script holds the lock (sst_env.sh). Without flock nothing is known.
receives() {
    local code=0
    [ -e "$GALERA_RUNDIR/sst.joiner" ] || return 1
    flock --nonblock --conflict-exit-code 75 "$GALERA_RUNDIR/sst.joiner" true 2>/dev/null || code=$?
    [ "$code" = 75 ]
}

# A stop is handed on, and the server has all the time that it needs to end in order. One that is receiving a state
# transfer would wait for its end, and a volume that is being filled has nothing to lose: it is killed.
end_server() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || return 0
    while [ -n "$child" ] && kill -0 "$child" 2>/dev/null; do
        if receives; then
            say "mariadbd was to stop while it received a state transfer: kills it"
            kill -KILL "$child"
            break
        fi
        sleep 0.2
    done &
}

# The agent has a server killed that was told to stop and does not, by a word into a pipe (upkeep.py). Its reader is this
# server's alone and waits inside the shell. What nobody has read is gone with it, so no word reaches a later server.
kill_when_told() {
    [ -p "$GALERA_RUNDIR/kill" ] || mkfifo "$GALERA_RUNDIR/kill" || return 0
    read -r _ <>"$GALERA_RUNDIR/kill" || return 0
    say "mariadbd was told to stop and does not, the agent says: kills it"
    kill -KILL "$1"
}

# A server and its donor script look behind the link of a ConfigMap, at a directory that goes when the ConfigMap changes:
# without a file of its own no server could give a full state transfer from then on, and it would give one by options
# that it does not run with.
keep_options() {
    install -m 0640 "$GALERA_CNF" "$GALERA_RUNDIR/server.cnf"
}

serve() {
    serving=yes
    keep_options
    mariadbd "${@/#--defaults-file=$GALERA_CNF/--defaults-file=$GALERA_RUNDIR/server.cnf}" <&0 &
    child=$!
    kill_when_told "$child" &
    local reader=$!
    [ -z "$stopping" ] || end_server
    # A stop interrupts the wait, also where the server ends just then.
    while interrupted='' code=0; wait "$child" || code=$?; [ -n "$interrupted" ]; do :; done
    child='' serving=''
    kill "$reader" 2>/dev/null || true
}

# Every question to the agent would fail without a word, for ever.
if ! command -v socat >/dev/null; then
    say "this image has no socat, with which the agent is asked; docs/images.md says what an image must have"
    exit 127
fi
mkdir -p "$GALERA_DATADIR"
mapfile -t extra < <(provider)
# Read by bash at the start of the state transfer script, see there.
export BASH_ENV=$GALERA_RUNDIR/sst_env.sh
while true; do
    decide
    # No state transfer runs here yet. The process number that one left when it was killed may be another process's now,
    # and the next transfer would wait for that one to end.
    rm -f "$GALERA_DATADIR/wsrep_sst.pid"
    say "mariadbd ${reply[*]:1} ${extra[*]}"
    since=$SECONDS
    serve "${reply[@]:1}" "${extra[@]}"
    [ -z "$stopping" ] || exit "$code"
    say "mariadbd ended with $code after $((SECONDS - since)) s"
    # One that ran, or was killed, is started again at once: the kubelet would let it wait longer at each crash, up to five
    # minutes. One that cannot start is left to the kubelet, which shows it.
    [ "$code" = 137 ] || [ "$((SECONDS - since))" -ge "$SHORTEST_RUN" ] || exit "$code"
    end_leftovers
done
