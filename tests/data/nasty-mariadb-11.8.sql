-- What MariaDB 10.11 lacks; loaded after nasty-mariadb.sql.
SET NAMES utf8mb4;
CREATE TABLE vectors (i INT PRIMARY KEY, v VECTOR(3) NOT NULL, VECTOR INDEX (v) M=8 DISTANCE=cosine);
INSERT INTO vectors VALUES (1, Vec_FromText('[1,-0.1,3e10]')), (2, Vec_FromText('[0,0,1]'));
CREATE TABLE uca (a VARCHAR(20) COLLATE utf8mb4_uca1400_nopad_as_cs PRIMARY KEY, b VARCHAR(20) COLLATE utf8mb4_0900_ai_ci) COLLATE utf8mb4_uca1400_german2_ai_ci;
INSERT INTO uca VALUES ('ä', 'ß'), ('a', 'SS'), ('a ', '😀');
DELIMITER //
CREATE PROCEDURE p_default(a INT DEFAULT 5) SELECT a//
CREATE PACKAGE pack_sql
  FUNCTION two() RETURNS INT;
END//
CREATE PACKAGE BODY pack_sql
  FUNCTION two() RETURNS INT RETURN 2;
END//
DELIMITER ;
