-- What only MySQL has; loaded after nasty.sql.
SET NAMES utf8mb4;
SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';

SET sql_generate_invisible_primary_key=1;
CREATE TABLE gipk (a INT, b VARCHAR(5));
SET sql_generate_invisible_primary_key=0;
INSERT INTO gipk VALUES (2, 'same'), (1, 'x'), (2, 'same');
DELETE FROM gipk WHERE a = 1;

CREATE TABLE functional (i INT PRIMARY KEY, t VARCHAR(20), j JSON, KEY up ((UPPER(t))), UNIQUE u ((i + 1) DESC, t), KEY mv ((CAST(j->'$.a' AS UNSIGNED ARRAY))),
  KEY hidden (t) INVISIBLE COMMENT 'c;') DEFAULT CHARSET=utf8mb4;
INSERT INTO functional VALUES (1, 'é', '{"a": [1, 2]}'), (2, 'b', '{"a": [3]}');
CREATE TABLE only_functional (i INT NOT NULL, UNIQUE ((i * 2)));
INSERT INTO only_functional VALUES (2), (1);
CREATE TABLE checks (i INT PRIMARY KEY, v INT, CONSTRAINT soft CHECK (v < 5) NOT ENFORCED, CONSTRAINT `h;ard` CHECK (CONCAT(v, 'é;') <> '13é;'));
INSERT INTO checks VALUES (1, 9);
CREATE TABLE expression_defaults (i INT PRIMARY KEY, u VARCHAR(40) DEFAULT (UUID()), j JSON DEFAULT (JSON_ARRAY('é', "x")),
  p POINT NOT NULL DEFAULT (POINT(1, 2)) SRID 0, t TEXT DEFAULT ('a;\'b'), inv INT DEFAULT 7 INVISIBLE) DEFAULT CHARSET=utf8mb4;
INSERT INTO expression_defaults (i, u, inv) VALUES (1, 'u', 8);
CREATE TABLE places (p POINT NOT NULL SRID 4326, l LINESTRING SRID 3857, g GEOMETRYCOLLECTION, SPATIAL INDEX (p));
INSERT INTO places VALUES (ST_GeomFromText('POINT(10 20)', 4326), ST_GeomFromText('LINESTRING(1 2, 3 4)', 3857), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), POLYGON((0 0, 0 1, 1 1, 0 0)))')),
  (ST_GeomFromText('POINT(-90 180)', 4326), NULL, NULL);
CREATE TABLE descending (a INT, b VARCHAR(5), PRIMARY KEY (a DESC, b), KEY (b DESC, a));
INSERT INTO descending VALUES (1, 'x'), (2, 'y'), (2, 'a');
CREATE TABLE vectors (i INT PRIMARY KEY, v VECTOR(3), w VECTOR);
INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1,-0.1,3e10]'), STRING_TO_VECTOR('[1]')), (2, NULL, NULL);
CREATE TABLE json_values (i INT PRIMARY KEY, j JSON);
INSERT INTO json_values VALUES (1, 'null'), (2, NULL), (3, '"\\u0000é😀\\""'), (4, '18446744073709551615'), (5, '-1.5e300'), (6, '{"b": 1, "a": {"": []}}'), (7, 'true');
CREATE TABLE latin1_strings (l VARCHAR(9) CHARACTER SET latin1, g VARCHAR(20) CHARACTER SET utf8mb4 GENERATED ALWAYS AS (CONCAT(l, 'é;\'')) STORED,
  h VARCHAR(20) DEFAULT (CONCAT('é', l)), CHECK (l <> 'ü'), KEY ((CONCAT(l, 'é'))));
INSERT INTO latin1_strings (l, h) VALUES ('à', 'x');
CREATE TABLE uca (a VARCHAR(20) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, b VARCHAR(20) COLLATE utf8mb4_de_pb_0900_ai_ci, g CHAR(3) CHARACTER SET gb18030) COLLATE utf8mb4_0900_bin;
INSERT INTO uca VALUES ('ä', 'ß', '表'), ('a', 'SS', NULL), ('a ', '😀', '');
CREATE TABLE storage (i INT STORAGE DISK COLUMN_FORMAT DYNAMIC PRIMARY KEY, t TEXT, KEY k (t(5)) COMMENT 'x') COMPRESSION='zlib' STATS_PERSISTENT=0 AUTOEXTEND_SIZE=4M;
CREATE TABLE key_parts (i INT, d DATE, PRIMARY KEY (i, d)) PARTITION BY RANGE COLUMNS (d, i) SUBPARTITION BY KEY (i) SUBPARTITIONS 2
  (PARTITION p0 VALUES LESS THAN ('2020-01-01', 5) COMMENT 'é', PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE));
INSERT INTO key_parts VALUES (1, '2019-01-01'), (2, '2021-01-01');

CREATE VIEW v_lateral AS SELECT t.i, x.y FROM functional t, LATERAL (SELECT t.i + 1 AS y) x;
CREATE ROLE IF NOT EXISTS nasty_role;
CREATE DEFINER=nasty_role VIEW v_role AS SELECT 1 AS one;
