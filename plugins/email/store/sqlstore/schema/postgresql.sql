-- PostfixAdmin's tables, as far as they are used, and liveapid_suspension. liveapi store init creates those
-- that are missing. Each statement ends with a semicolon at the end of a line.

CREATE TABLE domain (
    domain varchar(255) PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '', aliases integer NOT NULL DEFAULT 0,
    mailboxes integer NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0,
    transport varchar(255) DEFAULT NULL, backupmx boolean NOT NULL DEFAULT false,
    created timestamp with time zone DEFAULT now(), modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true, password_expiry integer DEFAULT 0);

CREATE TABLE mailbox (
    username varchar(255) PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255) NOT NULL DEFAULT '',
    maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL,
    domain varchar(255) NOT NULL, created timestamp with time zone DEFAULT now(),
    modified timestamp with time zone DEFAULT now(), active boolean NOT NULL DEFAULT true,
    password_expiry timestamp with time zone DEFAULT now() + interval '100 years');

CREATE INDEX mailbox_domain_username ON mailbox (domain, username);

CREATE TABLE alias (
    address varchar(255) PRIMARY KEY, goto text NOT NULL, domain varchar(255) NOT NULL,
    created timestamp with time zone DEFAULT now(), modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true);

CREATE INDEX alias_domain ON alias (domain);

CREATE TABLE quota2 (username varchar(255) PRIMARY KEY, bytes bigint NOT NULL DEFAULT 0, messages integer NOT NULL DEFAULT 0);

CREATE TABLE liveapid_suspension (
    username varchar(255) PRIMARY KEY, incoming boolean NOT NULL DEFAULT false,
    outgoing boolean NOT NULL DEFAULT false, hold boolean NOT NULL DEFAULT false);
