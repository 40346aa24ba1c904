#!/usr/local/cpanel/3rdparty/bin/perl
# The call of the page about Email::passwd_pop of UAPI, with the error handling that the page shows.
use strict;
use Cpanel::LiveAPI ();
my $cpanel = Cpanel::LiveAPI->new();
print "Content-type: text/plain\r\n\r\n";

my $response = $cpanel->uapi(
    q/Email/,
    q/passwd_pop/,
    {
        'email'    => 'user@example.com',
        'password' => '12345luggage',
    }
);

if ($response->{cpanelresult}{result}{status}) {
    my $boxes = $cpanel->uapi( q/Email/, q/list_pops/, { 'regex' => 'user' } );
    print to_json($boxes->{cpanelresult}{result}{data});
}
else {
    print to_json($response->{cpanelresult}{result}{errors});
}
$cpanel->end();

sub to_json {
    require JSON;
    my $str = JSON->new->pretty->encode($_[0]);
    return $str;
}
