package LiveAPI::Module::Call;

use strict;
use warnings;
use 5.016;

use Carp ();

our $VERSION = '0.1.0';

my @KINDS = qw(invalid not_found failed denied unavailable);

sub new {
    my ($class, $request) = @_;
    my $account = ref $request->{account} eq 'HASH' ? $request->{account} : {};
    return bless {
        request  => $request,
        args     => ref $request->{args} eq 'HASH' ? $request->{args} : {},
        account  => $account,
        messages => [],
        warnings => [],
        metadata => {},
    }, $class;
}

sub get {
    my ($self, @names) = @_;
    return wantarray ? @{$self->{args}}{@names} : $self->{args}{$names[0]};
}

sub has     { my ($self, $name) = @_; return exists $self->{args}{$name} ? 1 : 0 }
sub args    { return $_[0]{args} }
sub id      { return $_[0]{request}{id} }
sub role    { return $_[0]{request}{role} }
sub account { return $_[0]{account} }
sub user    { return $_[0]{account}{name} }
sub home    { return $_[0]{account}{home} }
sub domains { return @{$_[0]{account}{domains} || []} }

sub has_feature {
    my ($self, $name) = @_;
    my $features = $self->{account}{features} or return 1;
    return scalar(grep { $_ eq $name } @$features) ? 1 : 0;
}

sub message { my ($self, $text) = @_; push @{$self->{messages}}, $text; return }
sub warn    { my ($self, $text) = @_; push @{$self->{warnings}}, $text; return }

sub metadata {
    my ($self, $key, $value) = @_;
    $self->{metadata}{$key} = $value if @_ > 2;
    return $self->{metadata}{$key};
}

sub fail {
    my ($self, $message, $kind) = @_;
    $kind = 'invalid' if !defined $kind;
    Carp::croak("fail: unknown kind $kind: the kinds are @KINDS") if !grep { $_ eq $kind } @KINDS;
    die bless {message => "$message", kind => $kind}, 'LiveAPI::Module::Failure';
}

# API 2 has no field for warnings, so the record has them.
sub done {
    my ($self) = @_;
    return if $self->{request}{api} != 2;
    return [{result => 1, reason => join ' ', @{$self->{warnings}}}];
}

1;

__END__

=head1 NAME

LiveAPI::Module::Call - a call of a module's function

=head1 DESCRIPTION

The functions of a L<LiveAPI::Module> get a call as their argument.

=head1 METHODS

=head2 get(@names)

Returns the arguments with these names, and C<undef> for absent arguments.

=head2 has($name)

Tells whether an argument was given.

=head2 args

Returns all arguments, a hash.

=head2 account

Returns the account: a hash with C<name>, C<uid>, C<gid>, C<home>, C<domains> and, if the account
has any, C<features> and C<data>.

=head2 user

Returns the account's name.

=head2 home

Returns the account's home.

=head2 domains

Returns the account's domains, the main one first.

=head2 has_feature($name)

Tells whether the account has a feature.

=head2 role

Returns the caller's role: C<account>, C<mailbox> or C<admin>.

=head2 id

Returns the call's id, for logs.

=head2 message($text)

Adds a message to the answer.

=head2 warn($text)

Adds a warning to the answer.

=head2 metadata($key, $value)

Sets metadata of the answer, or returns it.

=head2 fail($message, $kind)

Ends the call with an error message for the caller. The kind is C<invalid> (the default),
C<not_found>, C<failed>, C<denied> or C<unavailable>. If a function dies otherwise, its message
goes to the host's log, and the caller gets only the call's id. On a host in personal mode, the
caller gets the message, too.

=head2 done

Returns the data of a function that changes something and has no data: in API 2 a list with a
record of success, in which C<result> is 1 and C<reason> has the warnings, and otherwise nothing.

=head2 new($request)

Creates a call from the host's request.

=cut
