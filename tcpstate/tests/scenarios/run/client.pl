# A client. LEAK=1 brings the bug back: it keeps its socket in a global variable, which Perl gives up as it ends.
# It uses no module: of Perl, guests have the program alone.
my ($inet, $stream) = (2, 1);

sub address { pack 'S n a4 x8', $inet, $_[0], "\x7f\0\0\1" }

socket my $listener, $inet, $stream, 0 or die "socket: $!";
bind $listener, address(0) or die "bind: $!";
listen $listener, 5 or die "listen: $!";
my (undef, $port) = unpack 'S n', getsockname $listener;

sub fetch {
    socket my $socket, $inet, $stream, 0 or die "socket: $!";
    connect $socket, address($port) or die "connect: $!";
    accept my $peer, $listener or die "accept: $!";
    syswrite $peer, 'hello';
    close $peer;
    1 while sysread $socket, my $said, 100;
    our $kept = $socket if $ENV{LEAK};
}

fetch();
# Stacks are unwound from outside, so a process has to live for a moment.
select undef, undef, undef, 0.5;
