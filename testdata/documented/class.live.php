<?php
// The calls of the page about the LiveAPI PHP class.
require_once "/usr/local/cpanel/php/cpanel.php"; // The class is in this file on every cPanel server.

$cpanel = new CPANEL(); // Connects; a program does this once.

print $cpanel->header( "Mailboxes" ); // The frame of the page.

$boxes = $cpanel->api2( 'Email', 'listpops', array( 'regex' => 'user' ) );
foreach ( $boxes['cpanelresult']['data'] as $box ) {
    print "mailbox " . $box['email'] . "\n";
}

$domains = $cpanel->uapi( 'DomainInfo', 'domains_data', array( 'format' => 'hash' ) );
print "domain " . $domains['cpanelresult']['result']['data']['main_domain']['domain'] . "\n";

$quota = $cpanel->api1( 'Email', 'getpopquota', array( 'user', $domains['cpanelresult']['result']['data']['main_domain']['domain'] ) );
print "quota " . $quota['cpanelresult']['data']['result'] . "\n";

print "account " . $cpanel->cpanelprint( '$user' ) . "\n";
if ( $cpanel->cpanelif( '$user' ) && $cpanel->cpanelfeature( 'popaccts' ) ) {
    print "feature yes\n";
}

print $cpanel->footer();
$cpanel->end(); // Disconnects; a program does this once.
?>
