package store

// AddContractKey keeps the key, sealed, with which fields of a contract are hashed. It goes with the contract.
func (tx *Tx) AddContractKey(contract string, sealed []byte) error {
	_, err := tx.sql.Exec("INSERT INTO contract_keys (contract, sealed) VALUES (?, ?)", contract, sealed)
	return err
}

// ContractKeys returns the sealed keys by the contract's uid.
func (tx *Tx) ContractKeys() (map[string][]byte, error) {
	out := map[string][]byte{}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var contract string
		var sealed []byte
		if err := scan(&contract, &sealed); err != nil {
			return err
		}
		out[contract] = sealed
		return nil
	}, "SELECT contract, sealed FROM contract_keys")
	return out, err
}
