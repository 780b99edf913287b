# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Read by each bash that mariadbd starts (BASH_ENV), before its script.

# The script of a state transfer and all that it starts hold a lock, so that the agent and start.sh know that it goes on.
case ${0##*/} in
    wsrep_sst_*)
        # Its arguments are no positional parameters yet.
        mapfile -d '' -t galera_words <"/proc/$$/cmdline"
        for galera_role in donor joiner; do
            [[ " ${galera_words[*]} " = *" --role $galera_role "* ]] || continue
            # Shared: what an earlier script has left behind must not hold this one up.
            { exec {galera_lock}>>"$GALERA_RUNDIR/sst.$galera_role" && flock --shared "$galera_lock"; } || true
        done
        unset galera_words galera_role
        ;;
esac

# The donor's side of the state transfer sends a first small stream, sleeps ten seconds in the hope that the joiner listens
# again by then, and sends the data. Here that sleep, and only that one, is left out, and what it was to bring about is
# waited for instead: each stream ends when the joiner has closed it, so that the next one cannot reach a listener that
# is going away, and the donor's socat tries until the joiner listens ([sst] sockopt in my.cnf).
if [ "${0##*/}" = wsrep_sst_mariabackup ]; then
    sleep() {
        if [ "$*" = 10 ] && [ "${WSREP_SST_OPT_ROLE:-}" = donor ]; then
            return 0
        fi
        command sleep "$@"
    }
    socat() {
        # One way (-u), socat leaves as soon as it has sent; both ways, it waits for the other side's end, here at most 60 s.
        # A transfer in which no byte has moved for ten minutes (-T) has lost its other side: it ends on both, the joiner
        # finds it incomplete and asks again. While bytes move it may take as long as it takes.
        # In blocks of 256 KiB (-b) the same bytes take half of the time that they take in socat's 8 KiB.
        if [ "${WSREP_SST_OPT_ROLE:-}" = donor ] && [ "$1 ${2:-}" = "-u stdio" ]; then
            command socat -b 262144 -T 600 -t 60 "${@:2}"
        elif [ "$1" = -u ]; then
            command socat -b 262144 -T 600 "$@"
        else
            command socat "$@"
        fi
    }
fi
