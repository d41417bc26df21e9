package provider

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/moorage-dev/moorage/iplease"
)

var (
	_ AddressStore = (*boltStore)(nil)
	_ AddressStore = (*memStore)(nil)
)

func claimBucket() []byte { return []byte("claims/v1") }

// SaveClaims implements [AddressStore].
func (s *boltStore) SaveClaims(records ...iplease.Record) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(claimBucket())
		for _, r := range records {
			key := []byte(r.Key().String())
			if r.State == iplease.Free {
				if err := bucket.Delete(key); err != nil {
					return err
				}
				continue
			}
			value, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("provider: store: address %s: %w", key, err)
			}
			if err := bucket.Put(key, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// LoadClaims implements [AddressStore].
func (s *boltStore) LoadClaims() ([]iplease.Record, error) {
	var out []iplease.Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(claimBucket()).ForEach(func(k, v []byte) error {
			var r iplease.Record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("provider: store: address %s: %w", k, err)
			}
			out = append(out, r)
			return nil
		})
	})
	return out, err
}

// SaveClaims implements [AddressStore].
func (s *memStore) SaveClaims(records ...iplease.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		if r.State == iplease.Free {
			delete(s.claims, r.Key())
		} else {
			s.claims[r.Key()] = r
		}
	}
	return nil
}

// LoadClaims implements [AddressStore].
func (s *memStore) LoadClaims() ([]iplease.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]iplease.Record, 0, len(s.claims))
	for _, r := range s.claims {
		out = append(out, r)
	}
	return out, nil
}
