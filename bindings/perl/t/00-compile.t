use strict;
use warnings;
use Test::More;

use_ok($_) for qw(Cpanel::LiveAPI Cpanel::LiveAPI::Codec Cpanel::LiveAPI::Packed Cpanel::LiveAPI::Transport),
    qw(LiveAPI::Module LiveAPI::Module::Call LiveAPI::Module::Custom);
is(Cpanel::LiveAPI->VERSION, $_->VERSION, "$_ has the version of the distribution")
    for qw(Cpanel::LiveAPI::Codec Cpanel::LiveAPI::Packed Cpanel::LiveAPI::Transport LiveAPI::Module LiveAPI::Module::Call LiveAPI::Module::Custom);
can_ok(
    'Cpanel::LiveAPI',
    qw(new api api1 api2 api3 uapi exec fetch cpanelif cpanelfeature cpanelprint cpanellangprint
        header footer set_debug get_debug_level get_debug_log debug_log debug_log_json end)
);

done_testing;
