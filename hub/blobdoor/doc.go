// Package blobdoor answers the Azure Blob REST protocol for files: what the uploaders of the device SDKs, and @azure/storage-blob and its
// relatives, do with one block blob and a signed URL. It serves a hub's own host name, below /uploads/, through hub/httpdoor.
//
//	PUT /uploads/{device}/{name}?{signature}                          Put Blob
//	PUT ..&comp=block&blockid={base64}                                Put Block
//	PUT ..&comp=blocklist                                             Put Block List
//	GET ..&comp=blocklist                                             Get Block List, for an upload that goes on where it stopped
//	GET, HEAD, DELETE /uploads/{device}/{name}                        Get Blob with ranges, Get Blob Properties, Delete Blob
//
// A body goes through in pieces to the disk; Content-MD5 and x-ms-content-crc64 are checked before anything of it counts. Conditions,
// leases, snapshots, tags, tiers, encryption scopes and customers' keys are refused with words where leaving them out would be a lie.
//
// Bodies are taken a bounded number at a time, in all and of one device; others wait a while and get 503 ServerBusy, which SDKs repeat. A
// body that stops coming for a minute ends the request.
//
// The door holds no state but those counts, and owns no goroutines.
package blobdoor
