<?php
// The calls of the tutorial about a new interface: a header, what the account has, and a footer.
include( "/usr/local/cpanel/php/cpanel.php" );
$cpanel = new CPANEL();
print $cpanel->header( "My Plugin", "my_plugin" );

$user = $cpanel->uapi( 'Variables', 'get_user_information', array( 'name' => 'user' ) );
$user = $user['cpanelresult']['result']['data']['user'];
$locale = $cpanel->uapi( 'Locale', 'get_attributes' );
$stats = $cpanel->uapi( 'StatsBar', 'get_stats', array( 'display' => 'emailaccounts|diskusage' ) );
$saved = $cpanel->uapi( 'NVData', 'set', array( 'names' => 'my_plugin', 'my_plugin' => json_encode( array( 'key' => 'kept' ) ) ) );
$kept = $cpanel->uapi( 'NVData', 'get', array( 'names' => 'my_plugin' ) );
$kept = json_decode( $kept['cpanelresult']['result']['data'][0]['value'] );

print "<p>Hello $user, in " . $locale['cpanelresult']['result']['data']['locale'] . ".</p>\n";
print "<p>mailboxes: " . $stats['cpanelresult']['result']['data'][0]['count'] . "</p>\n";
print "<p>setting: " . $kept->key . "</p>\n";
print $cpanel->footer();
$cpanel->end();
