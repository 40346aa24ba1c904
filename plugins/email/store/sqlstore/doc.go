// Package sqlstore is the store on PostgreSQL and MariaDB with the schema of PostfixAdmin, which Dovecot and
// Postfix read: the tables mailbox, domain, alias and quota2, and the package's own table
// liveapid_suspension. Values are always parameters, and changes run in transactions. It touches no mail,
// which is on the mail server.
package sqlstore
