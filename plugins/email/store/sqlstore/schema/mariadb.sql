-- PostfixAdmin's tables, as far as they are used, and liveapid_suspension. liveapi store init creates those
-- that are missing. Each statement ends with a semicolon at the end of a line.

CREATE TABLE domain (
    domain varchar(255) NOT NULL PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '', aliases int NOT NULL DEFAULT 0,
    mailboxes int NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0,
    transport varchar(255) DEFAULT NULL, backupmx tinyint(1) NOT NULL DEFAULT 0,
    created datetime NOT NULL DEFAULT current_timestamp(), modified datetime NOT NULL DEFAULT current_timestamp(),
    active tinyint(1) NOT NULL DEFAULT 1, password_expiry int DEFAULT 0) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB;

CREATE TABLE mailbox (
    username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255) NOT NULL DEFAULT '',
    maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL,
    domain varchar(255) NOT NULL, created datetime NOT NULL DEFAULT current_timestamp(),
    modified datetime NOT NULL DEFAULT current_timestamp(), active tinyint(1) NOT NULL DEFAULT 1,
    password_expiry datetime NOT NULL DEFAULT '2099-12-31 00:00:00', KEY domain (domain)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB;

CREATE TABLE alias (address varchar(255) NOT NULL PRIMARY KEY, `goto` text NOT NULL, domain varchar(255) NOT NULL, created datetime NOT NULL DEFAULT current_timestamp(), modified datetime NOT NULL DEFAULT current_timestamp(),
    active tinyint(1) NOT NULL DEFAULT 1, KEY domain (domain)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB;

CREATE TABLE quota2 (username varchar(255) NOT NULL PRIMARY KEY, bytes bigint NOT NULL DEFAULT 0, messages int NOT NULL DEFAULT 0) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB;

CREATE TABLE liveapid_suspension (
    username varchar(255) NOT NULL PRIMARY KEY, incoming tinyint(1) NOT NULL DEFAULT 0,
    outgoing tinyint(1) NOT NULL DEFAULT 0, hold tinyint(1) NOT NULL DEFAULT 0) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB;
