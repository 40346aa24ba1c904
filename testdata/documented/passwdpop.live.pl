#!/usr/local/cpanel/3rdparty/bin/perl
# The call of the page about Email::passwdpop of API 2.
use strict;
use Cpanel::LiveAPI ();
my $cpliveapi = Cpanel::LiveAPI->new();
print "Content-type: text/plain\r\n\r\n";

my $new_password = $cpliveapi->api2(
    'Email', 'passwdpop',
    {
        'domain'   => 'example.com',
        'email'    => 'user',
        'password' => '12345luggage',
    }
);
print "result $new_password->{cpanelresult}{data}[0]{result} $new_password->{cpanelresult}{data}[0]{reason}\n";
$cpliveapi->end();
