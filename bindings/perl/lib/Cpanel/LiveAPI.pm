package Cpanel::LiveAPI;

use strict;
use warnings;
use 5.016;

use Carp       ();
use Fcntl      ();
use File::Path ();
use JSON::PP   ();
use POSIX      ();

use Cpanel::LiveAPI::Codec     ();
use Cpanel::LiveAPI::Packed    ();
use Cpanel::LiveAPI::Transport ();

our $VERSION = '0.1.0';

# LiveAPI programs know this wording.
my $CLOSED = 'The LivePHP Socket has closed, unable to continue.';

sub new {
    my ($class, %options) = @_;
    my $transport = $options{transport} || Cpanel::LiveAPI::Transport->find;
    my $self = bless {transport => $transport, rest => '', debug => 0}, $class;

    # A host that rejects the session may have closed it already. Its reason can still be read.
    $transport->send(Cpanel::LiveAPI::Codec::frame(Cpanel::LiveAPI::Codec::ENABLE_JSON));
    my $answer = $self->_read->{cpanelresult};
    my $data   = $answer->{data};
    my $result = ref $data eq 'HASH' ? $data->{result} : undef;
    if (!defined $result || $result ne 'json') {
        my $why = defined $answer->{error} ? $answer->{error} : 'it gave no reason';
        $self->_disconnect;
        die 'liveapi: ' . $transport->name . ": the host rejected the session: $why\n";
    }
    if (Cpanel::LiveAPI::Packed::available()) {

        # A host without MessagePack answers with an error, and the session continues in JSON.
        $transport->send(Cpanel::LiveAPI::Codec::frame(Cpanel::LiveAPI::Packed::ENABLE));
        $result = _result($self->_read);
        $self->{packed} = defined $result && $result eq 'msgpack' ? 1 : 0;
    }
    return $self;
}

sub api {
    my ($self, $type, $version, $module, $func, $args) = @_;
    Carp::croak('usage: $api->api($type, $version, $module, $function, $args)') if !defined $func;
    $self->debug_log(1, "$type ${module}::$func of version $version");
    if ($self->{packed}) {
        return $self->_send(Cpanel::LiveAPI::Packed::request(++$self->{calls}, $version, $module, $func, $args));
    }
    my $action = Cpanel::LiveAPI::Codec::action($type, $version, $module, $func, $args);
    return $self->_send(Cpanel::LiveAPI::Codec::frame($action));
}

sub api1 {
    my ($self, $module, $func, $args) = @_;
    Carp::croak('usage: $api->api1($module, $function, \@args)') if !defined $func;
    return $self->api('exec', '1', $module, $func, $args);
}

sub api2 {
    my ($self, $module, $func, $args) = @_;
    Carp::croak('usage: $api->api2($module, $function, \%args)') if !defined $func;
    return $self->api('exec', '2', $module, $func, defined $args ? $args : {});
}

sub api3 {
    my ($self, $module, $func, $args) = @_;
    Carp::croak('usage: $api->api3($module, $function, \%args)') if !defined $func;
    return $self->api('exec', '3', $module, $func, defined $args ? $args : {});
}

sub uapi {
    my ($self, $module, $func, $args) = @_;
    Carp::croak('usage: $api->uapi($module, $function, \%args)') if !defined $func;
    return $self->api('exec', 'uapi', $module, $func, defined $args ? $args : {});
}

sub exec {
    my ($self, $code, $skip_return) = @_;
    Carp::croak('usage: $api->exec($tag, $skip_return)') if !defined $code;
    utf8::encode($code) if utf8::is_utf8($code);
    my $frame =
        $self->{packed}
        ? Cpanel::LiveAPI::Packed::tag(++$self->{calls}, $code)
        : Cpanel::LiveAPI::Codec::frame($code);
    my $answer = $self->_send($frame);
    return $skip_return ? undef : $answer;
}

sub fetch {
    my ($self, $var) = @_;
    Carp::croak('usage: $api->fetch($variable)') if !defined $var;
    return $self->exec(qq{<cpanel print="$var">});
}

sub cpanelif {
    my ($self, $code) = @_;
    return _result($self->api('if', '1', 'if', 'if', $code)) ? 1 : 0;
}

sub cpanelfeature {
    my ($self, $feature) = @_;
    return _result($self->api('feature', '1', 'feature', 'feature', $feature)) ? 1 : 0;
}

sub cpanelprint {
    my ($self, $var) = @_;
    return _result($self->api('exec', '1', 'print', '', $var));
}

sub cpanellangprint {
    my ($self, $key) = @_;
    return _result($self->api('exec', '1', 'langprint', '', $key));
}

sub header {
    my ($self, $title, $app_key) = @_;
    $self->{frame} = $self->_page_frame($title, $app_key);
    return _or_empty($self->{frame}{header});
}

sub footer {
    my ($self) = @_;
    $self->{frame} ||= $self->_page_frame;
    return _or_empty($self->{frame}{footer});
}

sub set_debug {
    my ($self, $level) = @_;
    $self->{debug} = defined $level && $level > 0 ? int $level : 0;
    return 1;
}

sub get_debug_level { return $_[0]{debug} }

sub get_debug_log {
    my ($self) = @_;
    if (!defined $self->{log}) {
        # The match allows the path in programs that run with -T: the log is in the user's own home.
        my ($home) = defined $ENV{HOME} && length $ENV{HOME} ? $ENV{HOME} =~ m{\A(/.*)\z}s : ();
        $home = '/tmp' if !defined $home;
        my $name = join '', map { sprintf '%04x', int rand 65536 } 1 .. 4;
        $self->{log} = "$home/.cpanel/LiveAPI.log.$name";
    }
    return $self->{log};
}

sub debug_log {
    my ($self, $level, $message, $stderr) = @_;
    $stderr = defined $stderr && $stderr =~ /\A(?:1|true)\z/i;
    return 0 if !($level == 0 && $stderr) && (!$self->{debug} || $level < $self->{debug});
    utf8::encode($message) if utf8::is_utf8($message);
    $message =~ s/([\x00-\x1f\x7f])/sprintf '\\x%02x', ord $1/ge;
    my $line = POSIX::strftime('[%Y-%m-%d %H:%M:%SZ] ', gmtime) . "$message\n";
    if ($stderr) {
        my $shown = print {*STDERR} $line;
        return $shown ? 1 : 0 if $level == 0;
    }
    my $path = $self->get_debug_log;
    (my $dir = $path) =~ s{/[^/]+\z}{};
    eval { File::Path::make_path($dir, {mode => oct '700'}) };

    # Only the user can read the file, and a symbolic link is not followed.
    my $flags = Fcntl::O_WRONLY() | Fcntl::O_APPEND() | Fcntl::O_CREAT() | Fcntl::O_NOFOLLOW();
    sysopen my $log, $path, $flags, oct '600' or return 0;
    my $written = syswrite $log, $line;
    return close($log) && $written ? 1 : 0;
}

sub debug_log_json {
    my ($self, $json) = @_;
    my $text = ref $json ? JSON::PP->new->canonical->allow_blessed->encode($json) : $json;
    return $self->debug_log($self->{debug} || 1, $text);
}

sub end {
    my ($self) = @_;
    my $transport = $self->{transport} or return;
    if ($transport->send(Cpanel::LiveAPI::Codec::frame(Cpanel::LiveAPI::Codec::SHUTDOWN))) {
        1 while $transport->receive ne '';    # A host may answer before it closes the session.
    }
    $self->_disconnect;
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);
    $self->_disconnect;
    return;
}

sub _send {
    my ($self, $frame) = @_;
    my $transport = $self->{transport} or Carp::croak($CLOSED);
    return $self->_read if $transport->send($frame);
    my $answer = eval { $self->_read };    # A host that closed the session may have sent its reason.
    $self->_disconnect;
    Carp::croak($CLOSED) if !$answer;
    return $answer;
}

sub _read {
    my ($self) = @_;
    my $transport = $self->{transport};
    my $answer = eval {
        return Cpanel::LiveAPI::Packed::read_answer($transport, \$self->{rest}) if $self->{packed};
        my $json = Cpanel::LiveAPI::Codec::read_answer($transport, \$self->{rest});
        Cpanel::LiveAPI::Codec::decode_answer($json, $transport->name);
    };
    if (!$answer) {
        my $error = $@;
        $self->_disconnect;    # Otherwise a late answer would be read as the next call's.
        die $error;
    }
    return $answer;
}

sub _disconnect {
    my ($self) = @_;
    my $transport = delete $self->{transport} or return;
    $transport->close;
    return;
}

sub _result {
    my ($answer) = @_;
    my $data = $answer->{cpanelresult}{data};
    return ref $data eq 'HASH' ? $data->{result} : undef;
}

sub _or_empty { return defined $_[0] ? $_[0] : '' }

sub _page_frame {
    my ($self, $title, $app_key) = @_;
    my $answer = $self->uapi('Chrome', 'get_dom', {page_title => _or_empty($title), app_key => _or_empty($app_key)});
    my $result = $answer->{cpanelresult}{result};
    my $data   = ref $result eq 'HASH' ? $result->{data} : undef;
    return ref $data eq 'HASH' ? $data : {};
}

1;

__END__

=head1 NAME

Cpanel::LiveAPI - call cPanel's APIs from a LiveAPI program

=head1 SYNOPSIS

    use Cpanel::LiveAPI ();

    my $api    = Cpanel::LiveAPI->new();
    my $answer = $api->api2(
        'Email', 'passwdpop',
        {
            domain   => 'example.com',
            email    => 'user',
            password => '12345luggage',
        }
    );
    my $record = $answer->{cpanelresult}{data}[0];
    warn $record->{reason} if !$record->{result};
    $api->end;

=head1 DESCRIPTION

A client for the LiveAPI, with the names of cPanel's documentation. Programs run unchanged
with liveapid and on a cPanel server. Only core modules are needed.

The client connects to the socket in C<CPANEL_CONNECT_SOCKET>, C<CPANEL_PHPCONNECT_SOCKET> or
C<LIVEAPI_SOCKET>. If none is set, it connects to F</run/liveapid/liveapi.sock>. If there is no
such socket either, it starts C<liveapid stdio> for this session (C<LIVEAPID> names the program).

If the host rejects a call, the method returns the host's answer with the error. Methods die if
no host can be reached or the host closes the session, and croak if they are called wrongly.

=head2 Text

Pass UTF-8 bytes or decoded characters. A string that is neither marked as characters nor
valid UTF-8 is read as Latin-1, as Perl does: each byte is a character. Answers contain UTF-8
bytes.

=head1 METHODS

=head2 new

Opens a session. A program needs only one session.

=head2 api($type, $version, $module, $function, $args)

Runs one function of any API: C<$type> is exec, if or feature, C<$version> is 1, 2, 3 or
uapi. Returns the answer as a hash reference, always with the level C<cpanelresult>.

=head2 api1($module, $function, \@args)

Runs a function of API 1.

=head2 api2($module, $function, \%args)

Runs a function of API 2: C<< $answer->{cpanelresult}{data} >> is its list of records.

=head2 api3($module, $function, \%args)

The older name of C<uapi>.

=head2 uapi($module, $function, \%args)

Runs a function of UAPI: C<< $answer->{cpanelresult}{result} >> has status, data and errors.

=head2 exec($tag, $skip_return)

Sends a tag unchanged. If C<$skip_return> is true, the answer is read and discarded.

=head2 fetch($variable)

Returns the complete answer with a variable's value.

=head2 cpanelif($expression)

Returns 1 if the expression is true, else 0.

=head2 cpanelfeature($name)

Returns 1 if the account has the feature, else 0.

=head2 cpanelprint($variable)

Returns a variable's value.

=head2 cpanellangprint($key)

Returns the locale's text for a key.

=head2 header($title, $app_key)

Returns the HTML for the start of a page.

=head2 footer

Returns the HTML for the end of a page.

=head2 set_debug($level)

Sets the debug level. 0 turns the log off. Arguments of calls are never logged.

=head2 get_debug_level

Returns the debug level.

=head2 get_debug_log

Returns the path of the debug log, in F<~/.cpanel>.

=head2 debug_log($level, $message, $stderr)

Writes a message to the log if C<$level> is at least the debug level. If C<$stderr> is 1 or the
text C<true>, the message also goes to standard error, and with level 0 only there. Returns 1 if
the message was written, else 0.

=head2 debug_log_json($json)

Writes a JSON text, or a reference as JSON, to the log. Returns 1 if it was written, else 0.

=head2 end

Ends the session. Call it last.

=head1 LICENSE

Apache License 2.0.

=cut
