#compdef tcpstate

autoload -U is-at-least

_tcpstate() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_tcpstate_commands" \
"*::: :->tcpstate" \
&& ret=0
    case $state in
    (tcpstate)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:tcpstate-command-$line[1]:"
        case $line[1] in
            (trace)
_arguments "${_arguments_options[@]}" : \
'*--pid=[Only sockets that this process opened, accepted or holds; repeat or separate with commas]:PID:_default' \
'*--comm=[Only sockets that a thread of this name (\`/proc/PID/comm\`) opened, accepted or holds; repeatable]:NAME:_default' \
'--cgroup=[Only sockets of this cgroup v2 and those below it]:PATH:_files -/' \
'--netns=[Only sockets of this network namespace]:NAME|PATH|INODE:_default' \
'*--lport=[Only this local port; repeat or separate with commas]:PORT:_default' \
'*--rport=[Only this remote port; repeat or separate with commas]:PORT:_default' \
'--laddr=[Only local addresses in this block, such as \`10.0.0.0/8\`, \`\:\:1\` or \`fe80\:\:1%eth0\`]:CIDR:_default' \
'--raddr=[Only remote addresses in this block]:CIDR:_default' \
'*--state=[Only transitions out of or into this state, such as \`close-wait\`; repeat or separate with commas]:STATE:_default' \
'-o+[Columns for people, or one JSON object a line]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--output=[Columns for people, or one JSON object a line]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--time=[How text output shows the time; JSON always carries both clocks]:STYLE:((local\:"Local wall clock, HH\:MM\:SS.mmm"
rfc3339\:"Local date, time and offset, microseconds"
relative\:"Seconds since the trace began"
none\:"No column of times"))' \
'--color=[Whether text output is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'--buffer=[Ring buffer between kernel and tcpstate; K, M and G are powers of 1024]:BYTES:_default' \
'--duration=[Stop after this long, such as 500ms, 30s, 5m or 1h30m]:TIME:_default' \
'--count=[Stop after this many transitions]:N:_default' \
'--children[With --pid\: also its descendants, those of now and those it will fork]' \
'(-6 --ipv6)-4[Only IPv4 sockets]' \
'(-6 --ipv6)--ipv4[Only IPv4 sockets]' \
'-6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'--ipv6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(leaks)
_arguments "${_arguments_options[@]}" : \
'*--pid=[Only sockets that this process opened, accepted or holds; repeat or separate with commas]:PID:_default' \
'*--comm=[Only sockets that a thread of this name (\`/proc/PID/comm\`) opened, accepted or holds; repeatable]:NAME:_default' \
'--cgroup=[Only sockets of this cgroup v2 and those below it]:PATH:_files -/' \
'--netns=[Only sockets of this network namespace]:NAME|PATH|INODE:_default' \
'*--lport=[Only this local port; repeat or separate with commas]:PORT:_default' \
'*--rport=[Only this remote port; repeat or separate with commas]:PORT:_default' \
'--laddr=[Only local addresses in this block, such as \`10.0.0.0/8\`, \`\:\:1\` or \`fe80\:\:1%eth0\`]:CIDR:_default' \
'--raddr=[Only remote addresses in this block]:CIDR:_default' \
'--older-than=[Only sockets that have been in CLOSE_WAIT for this long]:TIME:_default' \
'--interval=[Time between two reports]:TIME:_default' \
'--top=[Show this many groups of sockets at most]:N:_default' \
'--duration=[Stop after this long, such as 30s or 5m]:TIME:_default' \
'--stack-size=[Bytes of each user stack to copy at first, up to 64K; K is 1024]:BYTES:_default' \
'--buffer=[Ring buffer between kernel and tcpstate; K, M and G are powers of 1024]:BYTES:_default' \
'-o+[Text for people, one JSON object a report, or the stacks of the last report as a flame graph]:FORMAT:((text\:"For people; on a terminal each report replaces the one before"
json\:"One JSON object a report, as documented by \`leaks-v1.schema.json\`"
folded\:"Stacks in one line each, as flame graph programs read them; at the end"
svg\:"A flame graph; at the end"))' \
'--output=[Text for people, one JSON object a report, or the stacks of the last report as a flame graph]:FORMAT:((text\:"For people; on a terminal each report replaces the one before"
json\:"One JSON object a report, as documented by \`leaks-v1.schema.json\`"
folded\:"Stacks in one line each, as flame graph programs read them; at the end"
svg\:"A flame graph; at the end"))' \
'--weight=[What the widths of a flame graph stand for \[default\: seconds\]]:UNIT:((seconds\:"How many sockets, and for how long"
sockets\:"How many sockets"))' \
'--color=[Whether text output is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'--children[With --pid\: also its descendants, those of now and those it will fork]' \
'(-6 --ipv6)-4[Only IPv4 sockets]' \
'(-6 --ipv6)--ipv4[Only IPv4 sockets]' \
'-6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'--ipv6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'(--duration --interval)--once[Look once and end, without waiting for events]' \
'--kernel-stack[With each stack also show what the kernel was doing there]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(record)
_arguments "${_arguments_options[@]}" : \
'-o+[The file to write]:FILE:_files' \
'--output=[The file to write]:FILE:_files' \
'--max-size=[Go on in another file when this one has so many bytes; FILE becomes FILE.1, FILE.1 becomes FILE.2]:BYTES:_default' \
'--max-files=[With --max-size\: keep so many files, the one being written included]:N:_default' \
'*--pid=[Only sockets that this process opened, accepted or holds; repeat or separate with commas]:PID:_default' \
'*--comm=[Only sockets that a thread of this name (\`/proc/PID/comm\`) opened, accepted or holds; repeatable]:NAME:_default' \
'--cgroup=[Only sockets of this cgroup v2 and those below it]:PATH:_files -/' \
'--netns=[Only sockets of this network namespace]:NAME|PATH|INODE:_default' \
'*--lport=[Only this local port; repeat or separate with commas]:PORT:_default' \
'*--rport=[Only this remote port; repeat or separate with commas]:PORT:_default' \
'--laddr=[Only local addresses in this block, such as \`10.0.0.0/8\`, \`\:\:1\` or \`fe80\:\:1%eth0\`]:CIDR:_default' \
'--raddr=[Only remote addresses in this block]:CIDR:_default' \
'--interval=[Time between two looks at leaking sockets, their processes and threads]:TIME:_default' \
'--states-interval=[Time between two looks at all sockets, as \`states\` makes them; they are rarer where they are dear]:TIME:_default' \
'--older-than=[Take stacks of closes that come so long after the peer'\''s]:TIME:_default' \
'--duration=[Stop after this long, such as 30s or 8h]:TIME:_default' \
'--stack-size=[Bytes of each user stack to copy at first, up to 64K; K is 1024]:BYTES:_default' \
'--buffer=[Ring buffer between kernel and tcpstate; K, M and G are powers of 1024]:BYTES:_default' \
'--overwrite[Write over a file that exists]' \
'--children[With --pid\: also its descendants, those of now and those it will fork]' \
'(-6 --ipv6)-4[Only IPv4 sockets]' \
'(-6 --ipv6)--ipv4[Only IPv4 sockets]' \
'-6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'--ipv6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'(--states-interval)--no-states[Do not look at all sockets\: \`report --show states\` will have nothing to show]' \
'--kernel-stack[With each stack also take what the kernel was doing there]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(report)
_arguments "${_arguments_options[@]}" : \
'--show=[What to show of it]:WHAT:((leaks\:"How leaks stood at one moment, as \`tcpstate leaks\` shows them"
trace\:"Every transition, as \`tcpstate trace\` shows them"
summary\:"How many transitions there were, and the time in each state\: the end of \`trace\` alone"
states\:"Sockets in each state, as \`tcpstate states\` counts them"))' \
'--from=[Only what began at this time or later\: 2026-11-22T03\:10\:00Z, 03\:10, 03\:10\:00.5, or +90s from the start]:WHEN:_default' \
'--to=[Only what happened until this time; leaks as they stood then, the last count of sockets before]:WHEN:_default' \
'--older-than=[Only sockets that have been in CLOSE_WAIT for this long]:TIME:_default' \
'--top=[Show this many groups of sockets at most, of leaks or counts \[default\: 10\]]:N:_default' \
'*--pid=[Only sockets that this process opened, accepted or holds; repeat or separate with commas]:PID:_default' \
'*--comm=[Only sockets that a thread of this name (\`/proc/PID/comm\`) opened, accepted or holds; repeatable]:NAME:_default' \
'--cgroup=[Only sockets of this cgroup v2 and those below it]:PATH:_files -/' \
'--netns=[Only sockets of this network namespace]:NAME|PATH|INODE:_default' \
'*--lport=[Only this local port; repeat or separate with commas]:PORT:_default' \
'*--rport=[Only this remote port; repeat or separate with commas]:PORT:_default' \
'--laddr=[Only local addresses in this block, such as \`10.0.0.0/8\`, \`\:\:1\` or \`fe80\:\:1%eth0\`]:CIDR:_default' \
'--raddr=[Only remote addresses in this block]:CIDR:_default' \
'--by=[With --show states\: also count the sockets of each process, network namespace, cgroup, local port or remote end]:WHAT:((process\:"The processes that hold them"
netns\:"Their network namespace"
cgroup\:"Their cgroup v2"
lport\:"Their local port; those that the kernel gave together"
remote\:"Their remote end, without a port where it is the client"))' \
'*--state=[With --show trace\: only transitions out of or into this state; with --show states\: only sockets in it]:STATE:_default' \
'-o+[Text for people, JSON as of \`leaks\`, \`trace\` or \`states\`, or the stacks of leaks as a flame graph]:FORMAT:((text\:"For people; on a terminal each report replaces the one before"
json\:"One JSON object a report, as documented by \`leaks-v1.schema.json\`"
folded\:"Stacks in one line each, as flame graph programs read them; at the end"
svg\:"A flame graph; at the end"))' \
'--output=[Text for people, JSON as of \`leaks\`, \`trace\` or \`states\`, or the stacks of leaks as a flame graph]:FORMAT:((text\:"For people; on a terminal each report replaces the one before"
json\:"One JSON object a report, as documented by \`leaks-v1.schema.json\`"
folded\:"Stacks in one line each, as flame graph programs read them; at the end"
svg\:"A flame graph; at the end"))' \
'--weight=[What the widths of a flame graph stand for \[default\: seconds\]]:UNIT:((seconds\:"How many sockets, and for how long"
sockets\:"How many sockets"))' \
'--time=[How text output shows the time; JSON always carries both clocks]:STYLE:((local\:"Local wall clock, HH\:MM\:SS.mmm"
rfc3339\:"Local date, time and offset, microseconds"
relative\:"Seconds since the trace began"
none\:"No column of times"))' \
'--color=[Whether text output is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'--children[With --pid\: also its descendants, those of now and those it will fork]' \
'(-6 --ipv6)-4[Only IPv4 sockets]' \
'(-6 --ipv6)--ipv4[Only IPv4 sockets]' \
'-6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'--ipv6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':file -- A file that `tcpstate record` has written:_files' \
&& ret=0
;;
(probes)
_arguments "${_arguments_options[@]}" : \
'-o+[A table for people, or one JSON object, as documented by \`probes-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--output=[A table for people, or one JSON object, as documented by \`probes-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'--netns=[Only the sockets and the settings of this network namespace; else all sockets, and the settings of one'\''s own]:NAME|PATH|INODE:_default' \
'-o+[Text for people, or one JSON object, as documented by \`doctor-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--output=[Text for people, or one JSON object, as documented by \`doctor-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--color=[Whether text output is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(states)
_arguments "${_arguments_options[@]}" : \
'--by=[Also count the sockets of each process, network namespace, cgroup, local port or remote end]:WHAT:((process\:"The processes that hold them"
netns\:"Their network namespace"
cgroup\:"Their cgroup v2"
lport\:"Their local port; those that the kernel gave together"
remote\:"Their remote end, without a port where it is the client"))' \
'--watch=[Look again every so often and show what changed, such as every 2s]:TIME:_default' \
'--top=[Show this many groups, listeners, processes and remote ends at most]:N:_default' \
'--duration=[With --watch\: stop after this long, such as 30s or 5m]:TIME:_default' \
'--count=[With --watch\: stop after this many reports]:N:_default' \
'*--pid=[Only sockets that this process holds; repeat or separate with commas]:PID:_default' \
'*--comm=[Only sockets that a process of this name (\`/proc/PID/comm\`) holds; repeatable]:NAME:_default' \
'--cgroup=[Only sockets of this cgroup v2 and those below it]:PATH:_files -/' \
'--netns=[Only this network namespace]:NAME|PATH|INODE:_default' \
'*--state=[Only sockets in this state, such as \`close-wait\`; repeat or separate with commas]:STATE:_default' \
'*--lport=[Only this local port; repeat or separate with commas]:PORT:_default' \
'*--rport=[Only this remote port; repeat or separate with commas]:PORT:_default' \
'--laddr=[Only local addresses in this block, such as \`10.0.0.0/8\`, \`\:\:1\` or \`fe80\:\:1%eth0\`]:CIDR:_default' \
'--raddr=[Only remote addresses in this block]:CIDR:_default' \
'-o+[Text for people, or one JSON object a report, as documented by \`states-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--output=[Text for people, or one JSON object a report, as documented by \`states-v1.schema.json\`]:FORMAT:((text\:"Columns"
json\:"One JSON object a line, as documented by the command'\''s schema"))' \
'--color=[Whether text output is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'(-6 --ipv6)-4[Only IPv4 sockets]' \
'(-6 --ipv6)--ipv4[Only IPv4 sockets]' \
'-6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'--ipv6[Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help]' \
'--help[Print help]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'()--dir=[Write all pages into this directory instead, as tcpstate.1, tcpstate-trace.1 and so on]:DIR:_files -/' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help]' \
'--help[Print help]' \
'::command -- The command to describe; without one, tcpstate as a whole:_default' \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
'--older-than=[Only sockets that had been in CLOSE_WAIT for this long at the exit of their process, or at the end]:TIME:_default' \
'--max-dwell=[Also sockets that were in CLOSE_WAIT for longer than this at any time, closed or not]:TIME:_default' \
'--allow=[Let the leaks pass that this file names]:FILE:_files' \
'--leak-exit-code=[Exit code when CMD succeeded and sockets leaked; 0 to only report]:CODE:_default' \
'--junit=[Write a test report in \`JUnit\` XML\: a failed test case for each group of leaked sockets]:FILE:_files' \
'--report=[Write a JSON report, as documented by \`run-v1.schema.json\`]:FILE:_files' \
'--top=[Show this many groups of sockets at most; the files have all]:N:_default' \
'--color=[Whether the text is coloured\: auto means on a terminal, unless \`NO_COLOR\` is set]:WHEN:(auto always never)' \
'--stack-size=[Bytes of each user stack to copy at first, up to 64K; K is 1024]:BYTES:_default' \
'--buffer=[Ring buffer between kernel and tcpstate; K, M and G are powers of 1024]:BYTES:_default' \
'--best-effort[Run CMD even if sockets cannot be traced, such as without the needed privilege]' \
'*-v[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'*--verbose[Say more\: the hooks in use (-v), diagnostics of the BPF programs (-vv)]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::command -- The command to run, with its arguments:_cmdambivalent' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_tcpstate__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:tcpstate-help-command-$line[1]:"
        case $line[1] in
            (trace)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(leaks)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(record)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(report)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(probes)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(states)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_tcpstate_commands] )) ||
_tcpstate_commands() {
    local commands; commands=(
'trace:Show every TCP state transition as it happens, with the process that opened the socket' \
'leaks:Name the code that leaves sockets in CLOSE_WAIT, and the reason' \
'record:Keep what \`leaks\`, \`trace\` and \`states\` would show in a file' \
'report:Show what was recorded; needs no root, and can be done elsewhere' \
'probes:Show which hooks this kernel allows, why not the others, and what is lost without them' \
'doctor:Say what is wrong with sockets now, what this kernel allows, and what the TCP settings really do' \
'states:Count the sockets in each state, whose they are, and what they use up' \
'completions:Write a completion script for a shell' \
'man:Write the manual pages' \
'run:Run a command, and fail if it or what it starts leaves sockets in CLOSE_WAIT' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'tcpstate commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__completions_commands] )) ||
_tcpstate__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate completions commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__doctor_commands] )) ||
_tcpstate__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate doctor commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help_commands] )) ||
_tcpstate__subcmd__help_commands() {
    local commands; commands=(
'trace:Show every TCP state transition as it happens, with the process that opened the socket' \
'leaks:Name the code that leaves sockets in CLOSE_WAIT, and the reason' \
'record:Keep what \`leaks\`, \`trace\` and \`states\` would show in a file' \
'report:Show what was recorded; needs no root, and can be done elsewhere' \
'probes:Show which hooks this kernel allows, why not the others, and what is lost without them' \
'doctor:Say what is wrong with sockets now, what this kernel allows, and what the TCP settings really do' \
'states:Count the sockets in each state, whose they are, and what they use up' \
'completions:Write a completion script for a shell' \
'man:Write the manual pages' \
'run:Run a command, and fail if it or what it starts leaves sockets in CLOSE_WAIT' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'tcpstate help commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__completions_commands] )) ||
_tcpstate__subcmd__help__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help completions commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__doctor_commands] )) ||
_tcpstate__subcmd__help__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help doctor commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__help_commands] )) ||
_tcpstate__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help help commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__leaks_commands] )) ||
_tcpstate__subcmd__help__subcmd__leaks_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help leaks commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__man_commands] )) ||
_tcpstate__subcmd__help__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help man commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__probes_commands] )) ||
_tcpstate__subcmd__help__subcmd__probes_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help probes commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__record_commands] )) ||
_tcpstate__subcmd__help__subcmd__record_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help record commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__report_commands] )) ||
_tcpstate__subcmd__help__subcmd__report_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help report commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__run_commands] )) ||
_tcpstate__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help run commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__states_commands] )) ||
_tcpstate__subcmd__help__subcmd__states_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help states commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__help__subcmd__trace_commands] )) ||
_tcpstate__subcmd__help__subcmd__trace_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate help trace commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__leaks_commands] )) ||
_tcpstate__subcmd__leaks_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate leaks commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__man_commands] )) ||
_tcpstate__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate man commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__probes_commands] )) ||
_tcpstate__subcmd__probes_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate probes commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__record_commands] )) ||
_tcpstate__subcmd__record_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate record commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__report_commands] )) ||
_tcpstate__subcmd__report_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate report commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__run_commands] )) ||
_tcpstate__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate run commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__states_commands] )) ||
_tcpstate__subcmd__states_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate states commands' commands "$@"
}
(( $+functions[_tcpstate__subcmd__trace_commands] )) ||
_tcpstate__subcmd__trace_commands() {
    local commands; commands=()
    _describe -t commands 'tcpstate trace commands' commands "$@"
}

if [ "$funcstack[1]" = "_tcpstate" ]; then
    _tcpstate "$@"
else
    compdef _tcpstate tcpstate
fi
