# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tcpstate_global_optspecs
    string join \n v/verbose h/help V/version
end

function __fish_tcpstate_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tcpstate_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tcpstate_using_subcommand
    set -l cmd (__fish_tcpstate_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tcpstate -n "__fish_tcpstate_needs_command" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -s h -l help -d 'Print help'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -s V -l version -d 'Print version'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "trace" -d 'Show every TCP state transition as it happens, with the process that opened the socket'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "leaks" -d 'Name the code that leaves sockets in CLOSE_WAIT, and the reason'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "record" -d 'Keep what `leaks`, `trace` and `states` would show in a file'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "report" -d 'Show what was recorded; needs no root, and can be done elsewhere'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "probes" -d 'Show which hooks this kernel allows, why not the others, and what is lost without them'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "doctor" -d 'Say what is wrong with sockets now, what this kernel allows, and what the TCP settings really do'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "states" -d 'Count the sockets in each state, whose they are, and what they use up'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "completions" -d 'Write a completion script for a shell'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "man" -d 'Write the manual pages'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "run" -d 'Run a command, and fail if it or what it starts leaves sockets in CLOSE_WAIT'
complete -c tcpstate -n "__fish_tcpstate_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l pid -d 'Only sockets that this process opened, accepted or holds; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l comm -d 'Only sockets that a thread of this name (`/proc/PID/comm`) opened, accepted or holds; repeatable' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l cgroup -d 'Only sockets of this cgroup v2 and those below it' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l netns -d 'Only sockets of this network namespace' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l lport -d 'Only this local port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l rport -d 'Only this remote port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l laddr -d 'Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l raddr -d 'Only remote addresses in this block' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l state -d 'Only transitions out of or into this state, such as `close-wait`; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -s o -l output -d 'Columns for people, or one JSON object a line' -r -f -a "text\t'Columns'
json\t'One JSON object a line, as documented by the command\'s schema'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l time -d 'How text output shows the time; JSON always carries both clocks' -r -f -a "local\t'Local wall clock, HH:MM:SS.mmm'
rfc3339\t'Local date, time and offset, microseconds'
relative\t'Seconds since the trace began'
none\t'No column of times'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l color -d 'Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l buffer -d 'Ring buffer between kernel and tcpstate; K, M and G are powers of 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l duration -d 'Stop after this long, such as 500ms, 30s, 5m or 1h30m' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l count -d 'Stop after this many transitions' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -l children -d 'With --pid: also its descendants, those of now and those it will fork'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -s 4 -l ipv4 -d 'Only IPv4 sockets'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -s 6 -l ipv6 -d 'Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l pid -d 'Only sockets that this process opened, accepted or holds; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l comm -d 'Only sockets that a thread of this name (`/proc/PID/comm`) opened, accepted or holds; repeatable' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l cgroup -d 'Only sockets of this cgroup v2 and those below it' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l netns -d 'Only sockets of this network namespace' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l lport -d 'Only this local port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l rport -d 'Only this remote port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l laddr -d 'Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l raddr -d 'Only remote addresses in this block' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l older-than -d 'Only sockets that have been in CLOSE_WAIT for this long' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l interval -d 'Time between two reports' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l top -d 'Show this many groups of sockets at most' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l duration -d 'Stop after this long, such as 30s or 5m' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l stack-size -d 'Bytes of each user stack to copy at first, up to 64K; K is 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l buffer -d 'Ring buffer between kernel and tcpstate; K, M and G are powers of 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -s o -l output -d 'Text for people, one JSON object a report, or the stacks of the last report as a flame graph' -r -f -a "text\t'For people; on a terminal each report replaces the one before'
json\t'One JSON object a report, as documented by `leaks-v1.schema.json`'
folded\t'Stacks in one line each, as flame graph programs read them; at the end'
svg\t'A flame graph; at the end'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l weight -d 'What the widths of a flame graph stand for [default: seconds]' -r -f -a "seconds\t'How many sockets, and for how long'
sockets\t'How many sockets'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l color -d 'Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l children -d 'With --pid: also its descendants, those of now and those it will fork'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -s 4 -l ipv4 -d 'Only IPv4 sockets'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -s 6 -l ipv6 -d 'Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l once -d 'Look once and end, without waiting for events'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -l kernel-stack -d 'With each stack also show what the kernel was doing there'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand leaks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -s o -l output -d 'The file to write' -r -F
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l max-size -d 'Go on in another file when this one has so many bytes; FILE becomes FILE.1, FILE.1 becomes FILE.2' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l max-files -d 'With --max-size: keep so many files, the one being written included' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l pid -d 'Only sockets that this process opened, accepted or holds; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l comm -d 'Only sockets that a thread of this name (`/proc/PID/comm`) opened, accepted or holds; repeatable' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l cgroup -d 'Only sockets of this cgroup v2 and those below it' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l netns -d 'Only sockets of this network namespace' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l lport -d 'Only this local port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l rport -d 'Only this remote port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l laddr -d 'Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l raddr -d 'Only remote addresses in this block' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l interval -d 'Time between two looks at leaking sockets, their processes and threads' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l states-interval -d 'Time between two looks at all sockets, as `states` makes them; they are rarer where they are dear' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l older-than -d 'Take stacks of closes that come so long after the peer\'s' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l duration -d 'Stop after this long, such as 30s or 8h' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l stack-size -d 'Bytes of each user stack to copy at first, up to 64K; K is 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l buffer -d 'Ring buffer between kernel and tcpstate; K, M and G are powers of 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l overwrite -d 'Write over a file that exists'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l children -d 'With --pid: also its descendants, those of now and those it will fork'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -s 4 -l ipv4 -d 'Only IPv4 sockets'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -s 6 -l ipv6 -d 'Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l no-states -d 'Do not look at all sockets: `report --show states` will have nothing to show'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -l kernel-stack -d 'With each stack also take what the kernel was doing there'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l show -d 'What to show of it' -r -f -a "leaks\t'How leaks stood at one moment, as `tcpstate leaks` shows them'
trace\t'Every transition, as `tcpstate trace` shows them'
summary\t'How many transitions there were, and the time in each state: the end of `trace` alone'
states\t'Sockets in each state, as `tcpstate states` counts them'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l from -d 'Only what began at this time or later: 2026-11-22T03:10:00Z, 03:10, 03:10:00.5, or +90s from the start' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l to -d 'Only what happened until this time; leaks as they stood then, the last count of sockets before' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l older-than -d 'Only sockets that have been in CLOSE_WAIT for this long' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l top -d 'Show this many groups of sockets at most, of leaks or counts [default: 10]' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l pid -d 'Only sockets that this process opened, accepted or holds; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l comm -d 'Only sockets that a thread of this name (`/proc/PID/comm`) opened, accepted or holds; repeatable' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l cgroup -d 'Only sockets of this cgroup v2 and those below it' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l netns -d 'Only sockets of this network namespace' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l lport -d 'Only this local port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l rport -d 'Only this remote port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l laddr -d 'Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l raddr -d 'Only remote addresses in this block' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l by -d 'With --show states: also count the sockets of each process, network namespace, cgroup, local port or remote end' -r -f -a "process\t'The processes that hold them'
netns\t'Their network namespace'
cgroup\t'Their cgroup v2'
lport\t'Their local port; those that the kernel gave together'
remote\t'Their remote end, without a port where it is the client'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l state -d 'With --show trace: only transitions out of or into this state; with --show states: only sockets in it' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -s o -l output -d 'Text for people, JSON as of `leaks`, `trace` or `states`, or the stacks of leaks as a flame graph' -r -f -a "text\t'For people; on a terminal each report replaces the one before'
json\t'One JSON object a report, as documented by `leaks-v1.schema.json`'
folded\t'Stacks in one line each, as flame graph programs read them; at the end'
svg\t'A flame graph; at the end'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l weight -d 'What the widths of a flame graph stand for [default: seconds]' -r -f -a "seconds\t'How many sockets, and for how long'
sockets\t'How many sockets'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l time -d 'How text output shows the time; JSON always carries both clocks' -r -f -a "local\t'Local wall clock, HH:MM:SS.mmm'
rfc3339\t'Local date, time and offset, microseconds'
relative\t'Seconds since the trace began'
none\t'No column of times'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l color -d 'Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -l children -d 'With --pid: also its descendants, those of now and those it will fork'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -s 4 -l ipv4 -d 'Only IPv4 sockets'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -s 6 -l ipv6 -d 'Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand probes" -s o -l output -d 'A table for people, or one JSON object, as documented by `probes-v1.schema.json`' -r -f -a "text\t'Columns'
json\t'One JSON object a line, as documented by the command\'s schema'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand probes" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand probes" -s h -l help -d 'Print help'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand doctor" -l netns -d 'Only the sockets and the settings of this network namespace; else all sockets, and the settings of one\'s own' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand doctor" -s o -l output -d 'Text for people, or one JSON object, as documented by `doctor-v1.schema.json`' -r -f -a "text\t'Columns'
json\t'One JSON object a line, as documented by the command\'s schema'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand doctor" -l color -d 'Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand doctor" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l by -d 'Also count the sockets of each process, network namespace, cgroup, local port or remote end' -r -f -a "process\t'The processes that hold them'
netns\t'Their network namespace'
cgroup\t'Their cgroup v2'
lport\t'Their local port; those that the kernel gave together'
remote\t'Their remote end, without a port where it is the client'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l watch -d 'Look again every so often and show what changed, such as every 2s' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l top -d 'Show this many groups, listeners, processes and remote ends at most' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l duration -d 'With --watch: stop after this long, such as 30s or 5m' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l count -d 'With --watch: stop after this many reports' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l pid -d 'Only sockets that this process holds; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l comm -d 'Only sockets that a process of this name (`/proc/PID/comm`) holds; repeatable' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l cgroup -d 'Only sockets of this cgroup v2 and those below it' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l netns -d 'Only this network namespace' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l state -d 'Only sockets in this state, such as `close-wait`; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l lport -d 'Only this local port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l rport -d 'Only this remote port; repeat or separate with commas' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l laddr -d 'Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l raddr -d 'Only remote addresses in this block' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -s o -l output -d 'Text for people, or one JSON object a report, as documented by `states-v1.schema.json`' -r -f -a "text\t'Columns'
json\t'One JSON object a line, as documented by the command\'s schema'"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -l color -d 'Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -s 4 -l ipv4 -d 'Only IPv4 sockets'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -s 6 -l ipv6 -d 'Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand states" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand completions" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand completions" -s h -l help -d 'Print help'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand man" -l dir -d 'Write all pages into this directory instead, as tcpstate.1, tcpstate-trace.1 and so on' -r -f -a "(__fish_complete_directories)"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand man" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand man" -s h -l help -d 'Print help'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l older-than -d 'Only sockets that had been in CLOSE_WAIT for this long at the exit of their process, or at the end' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l max-dwell -d 'Also sockets that were in CLOSE_WAIT for longer than this at any time, closed or not' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l allow -d 'Let the leaks pass that this file names' -r -F
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l leak-exit-code -d 'Exit code when CMD succeeded and sockets leaked; 0 to only report' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l junit -d 'Write a test report in `JUnit` XML: a failed test case for each group of leaked sockets' -r -F
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l report -d 'Write a JSON report, as documented by `run-v1.schema.json`' -r -F
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l top -d 'Show this many groups of sockets at most; the files have all' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l color -d 'Whether the text is coloured: auto means on a terminal, unless `NO_COLOR` is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l stack-size -d 'Bytes of each user stack to copy at first, up to 64K; K is 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l buffer -d 'Ring buffer between kernel and tcpstate; K, M and G are powers of 1024' -r
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -l best-effort -d 'Run CMD even if sockets cannot be traced, such as without the needed privilege'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -s v -l verbose -d 'Say more: the hooks in use (-v), diagnostics of the BPF programs (-vv)'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "trace" -d 'Show every TCP state transition as it happens, with the process that opened the socket'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "leaks" -d 'Name the code that leaves sockets in CLOSE_WAIT, and the reason'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "record" -d 'Keep what `leaks`, `trace` and `states` would show in a file'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "report" -d 'Show what was recorded; needs no root, and can be done elsewhere'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "probes" -d 'Show which hooks this kernel allows, why not the others, and what is lost without them'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "doctor" -d 'Say what is wrong with sockets now, what this kernel allows, and what the TCP settings really do'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "states" -d 'Count the sockets in each state, whose they are, and what they use up'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "completions" -d 'Write a completion script for a shell'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "man" -d 'Write the manual pages'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "run" -d 'Run a command, and fail if it or what it starts leaves sockets in CLOSE_WAIT'
complete -c tcpstate -n "__fish_tcpstate_using_subcommand help; and not __fish_seen_subcommand_from trace leaks record report probes doctor states completions man run help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
