package engine

// after tells whether serial number a comes after b (RFC 1982).
func after(a, b uint32) bool { return int32(a-b) > 0 }
