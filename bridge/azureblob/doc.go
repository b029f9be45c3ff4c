// Package azureblob is a container of a blob service behind a bridge's end, for files that are written and tables that are read. The service
// is Azure's or one that speaks as it does.
//
// What proves the bridge there is its own identity, or what the end's secret holds: a connection string with AccountKey or with
// SharedAccessSignature, the URL of a shared access signature, or such a signature alone. Whatever host stands in a secret, connections go to
// the end's service. A blob is written whole: nobody sees a part of it. Secrets stand in no error.
//
// The package starts no goroutines of its own.
package azureblob
