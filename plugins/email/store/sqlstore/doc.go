// Package sqlstore is the store on PostgreSQL and MariaDB, with the schema of PostfixAdmin,
// which Dovecot and Postfix read: the tables mailbox, domain, alias and quota2, and one of its
// own, liveapid_suspension. It asks by parameters alone, changes within transactions, and lays
// hands on no mail: that lies with the mail server.
package sqlstore
