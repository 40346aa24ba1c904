#!/usr/bin/perl
# A page of a plugin: change a mailbox's password. It runs unchanged under liveapid and on a
# cPanel server. Core modules only.

use strict;
use warnings;

use Cpanel::LiveAPI ();

my $cpanel = Cpanel::LiveAPI->new();

sub html {
    my ($text) = @_;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', q{'} => '&#39;');
    $text =~ s/([&<>"'])/$entity{$1}/g;
    return $text;
}

sub form {
    my $body = '';
    read STDIN, $body, $ENV{CONTENT_LENGTH} || 0;
    my %form;
    for my $pair (split /&/, $body) {
        my ($name, $value) = map { tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger } split /=/, $pair, 2;
        $form{$name} = defined $value ? $value : '';
    }
    return \%form;
}

my $message = '';
if (($ENV{REQUEST_METHOD} || '') eq 'POST') {
    my $form   = form();
    my $answer = $cpanel->api2('Email', 'passwdpop', {map { $_ => $form->{$_} } qw(domain email password)});
    my $record = $answer->{cpanelresult}{data}[0] || {result => 0, reason => $answer->{cpanelresult}{error}};
    $message = $record->{result} ? 'The password was changed.' : $record->{reason};
}

my $domain = html($cpanel->cpanelprint('$domain'));
print "Content-Type: text/html; charset=utf-8\r\n\r\n";
print $cpanel->header('Change a password', 'mailbox-password');
print '<p role="status">', html($message), "</p>\n" if length $message;
print <<"HTML";
<form method="post">
<p><label>Mailbox <input name="email" required></label> <label>@ <input name="domain" value="$domain" required></label></p>
<p><label>New password <input name="password" type="password" autocomplete="new-password" required></label></p>
<p><button>Change</button></p>
</form>
HTML
print $cpanel->footer();
$cpanel->end();
