package Cpanel::API::Greeting;

# A custom UAPI module, as it would lie in a cPanel server's Cpanel/API. It runs unchanged in
# the Cpanel/API of liveapid's modules directory.

use strict;
use warnings;

our $VERSION = '1.0';

# Only accounts with this feature may call it.
our %API = (farewell => {needs_feature => 'farewells'});

sub greet {
    my ($args, $result) = @_;
    my $name = $args->get_length_required('name');
    my ($greeting) = $args->get('greeting');
    if ($name eq 'nobody') {
        $result->error('I do not greet “[_1]”.', $name);
        return 0;
    }
    $result->message('Greeted once.') if !$args->exists('times');
    $result->metadata('language', 'en');
    $result->data({greeting => (defined $greeting ? $greeting : 'Hello') . ", $name!"});
    return 1;
}

sub farewell {
    my ($args, $result) = @_;
    $result->data('Farewell, ' . $args->get_length_required('name') . '!');
    return 1;
}

1;
