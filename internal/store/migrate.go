package store

import (
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// schemaVersion is the file version that this program writes. Older files are
// migrated when they are opened; testdata has a file of each version.
const schemaVersion = 3

// migrations returns, for each older version, the step to the next one. A step
// may rewrite any bucket except those of the log.
func migrations() map[int]func(*bolt.Tx) error {
	return map[int]func(*bolt.Tx) error{
		1: func(*bolt.Tx) error { return nil }, // the new bucket "seen" starts empty
		2: func(*bolt.Tx) error { return nil }, // likewise "lines" and "line_outputs"
	}
}

// migrate upgrades a file to schemaVersion in one transaction.
func migrate(db *database) error {
	var version int
	err := viewFile(db, func(tx *bolt.Tx) (err error) {
		version, err = schemaOf(tx)
		return err
	})
	if err != nil {
		return err
	}
	if version == schemaVersion {
		return nil
	}
	return updateFile(db, func(tx *bolt.Tx) error { return migrateTx(tx, version, schemaVersion, migrations()) })
}

// migrateTx applies the steps from one version to another.
func migrateTx(tx *bolt.Tx, from, to int, steps map[int]func(*bolt.Tx) error) error {
	if from > to {
		// fail closed: data of a later version may mean something else.
		return fmt.Errorf("%w: version %d, this one knows %d", ErrSchema, from, to)
	}
	for v := from; v < to; v++ {
		step := steps[v]
		if step == nil {
			return fmt.Errorf("migrating the database: there is no step from version %d", v)
		}
		if err := step(tx); err != nil {
			return fmt.Errorf("migrating the database from version %d: %w", v, err)
		}
	}
	for _, name := range buckets() {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
	}
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaSchema), []byte(strconv.Itoa(to)))
}

func schemaOf(tx *bolt.Tx) (int, error) {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return 0, fmt.Errorf("%w: it is a database, but not of this program", ErrMissing)
	}
	v, err := strconv.Atoi(string(meta.Get([]byte(metaSchema))))
	if err != nil || v < 1 {
		return 0, fmt.Errorf("%w: it does not tell its version", ErrMissing)
	}
	return v, nil
}
