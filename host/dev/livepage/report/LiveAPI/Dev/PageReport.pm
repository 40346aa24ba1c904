package LiveAPI::Dev::PageReport;

# liveapi dev makes Perl load this file before a page. It reports the error that ends the page, as a JSON document, to
# the file that LIVEAPI_PAGE_REPORT names. Arguments of functions are left out, because they may be passwords.

use strict;
use warnings;

# The page finds no other module in this directory.
(my $own) = __FILE__ =~ m{\A(.*)/LiveAPI/Dev/};
@INC = grep { $_ ne $own } @INC;

my $path = delete $ENV{LIVEAPI_PAGE_REPORT};
($path) = $path =~ /\A(.*)\z/s;    # A page may run with taint checks.

sub text {
    my ($text) = @_;
    $text = '' if !defined $text;
    utf8::decode($text) if !utf8::is_utf8($text);
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([^\x20-\x7e])/ord $1 > 0xffff ? sprintf('\\u%04x\\u%04x', 0xd7c0 + (ord($1) >> 10), 0xdc00 + (ord($1) & 0x3ff)) : sprintf('\\u%04x', ord $1)/ge;
    return qq{"$text"};
}

sub report {
    my ($kind, $error, @stack) = @_;
    my ($message, $file, $line) = ("$error", '', 0);
    if ($message =~ /\A.*? at (\S+) line ([0-9]+)/s) {
        ($file, $line) = ($1, $2);
    }
    elsif (@stack) {
        ($file, $line) = @{$stack[0]};
    }
    my @frames = map { sprintf '{"file":%s,"line":%d,"function":%s}', text($_->[0]), $_->[1], text($_->[2]) } @stack;
    open my $out, '>>', $path or return;
    printf {$out} qq({"kind":"%s","type":%s,"message":%s,"file":%s,"line":%d,"stack":[%s]}\n),
        $kind, text(ref $error || ($kind eq 'fatal' ? 'die' : 'warn')), text($message), text($file), $line, join ',', @frames;
    close $out or return;
    return;
}

my @last;
$SIG{__DIE__} = sub {
    return if $^S;    # Inside eval. While Perl compiles, it is not known.
    my @stack;
    for (my $i = 0; my @frame = caller $i; $i++) {
        $stack[-1][2] = $frame[3] if @stack;    # The function in which the previous place is.
        push @stack, [@frame[1, 2], ''];
    }
    @last = ('fatal', $_[0], @stack);
};
$SIG{__WARN__} = sub { report('warning', $_[0]); print {*STDERR} $_[0] };

END {
    local $@;
    report(@last) if $? && @last;
}

1;
