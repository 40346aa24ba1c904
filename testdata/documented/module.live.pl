#!/usr/local/cpanel/3rdparty/bin/perl
# The calls of the page about the LiveAPI Perl module.
use strict;
use warnings;
BEGIN { unshift @INC, '/usr/local/cpanel'; }
use Cpanel::LiveAPI ();

my $cpliveapi = Cpanel::LiveAPI->new(); # Connects; a program does this once.

print "Content-type: text/html\r\n\r\n";
print $cpliveapi->header("Mailboxes");

my $boxes = $cpliveapi->api2( 'Email', 'listpops', { 'regex' => 'user' } );
print "mailbox $_->{email}\n" for @{ $boxes->{cpanelresult}{data} };

my $domains = $cpliveapi->uapi( 'DomainInfo', 'list_domains' );
print "domain $domains->{cpanelresult}{result}{data}{main_domain}\n";

my $quota = $cpliveapi->api1( 'Email', 'getpopquota', [ 'user', $domains->{cpanelresult}{result}{data}{main_domain} ] );
print "quota $quota->{cpanelresult}{data}{result}\n";

print "account ", $cpliveapi->cpanelprint('$user'), "\n";
print "feature yes\n" if $cpliveapi->cpanelif('$user') && $cpliveapi->cpanelfeature('popaccts');

print $cpliveapi->footer();
$cpliveapi->end(); # Disconnects; a program does this once.
