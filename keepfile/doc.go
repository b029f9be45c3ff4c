// Package keepfile replaces small files that must survive: keys, certificates, plans, saved logins. Whoever reads one, and a machine
// that loses power, sees the old content or the new; when [Write] returns nil the new one is on the disk. Files are readable by
// their owner only.
//
// Two writers of one file do not disturb each other, and the last wins. The package starts no goroutines.
package keepfile
