package hubclient

import (
	"context"
	"net/http"
	"time"
)

// FileSettings are how a hub treats files from devices. In a change nil stays as it is.
type FileSettings struct {
	Notifications          *bool `json:"notifications,omitempty"`
	GrantSeconds           *int  `json:"grantSeconds,omitempty"`           // 60 to 86400
	NotificationTTLSeconds *int  `json:"notificationTtlSeconds,omitempty"` // 60 to 172800
	LockSeconds            *int  `json:"lockSeconds,omitempty"`            // 5 to 300
	MaxDeliveries          *int  `json:"maxDeliveries,omitempty"`          // 1 to 100
}

const fileSettings = "/isthmus/v1/files/settings"

// FileSettings reads them.
func (c *Client) FileSettings(ctx context.Context) (FileSettings, error) {
	var out FileSettings
	err := c.call(ctx, http.MethodGet, fileSettings, nil, "", nil, &out)
	return out, err
}

// SetFileSettings changes those that are given, and returns all.
func (c *Client) SetFileSettings(ctx context.Context, s FileSettings) (FileSettings, error) {
	var out FileSettings
	err := c.call(ctx, http.MethodPatch, fileSettings, nil, "", s, &out)
	return out, err
}

// LinkFile makes a URL with which one file can be read for so long, 7 days at most, without a token. blob is the device's id, a slash,
// and the name the device gave the file.
func (c *Client) LinkFile(ctx context.Context, blob string, lasts time.Duration) (link string, expires time.Time, err error) {
	var out struct {
		URL     string
		Expires time.Time
	}
	err = c.call(ctx, http.MethodPost, "/isthmus/v1/files/links", nil, "", map[string]any{"blobName": blob, "seconds": int(lasts.Seconds())}, &out)
	return out.URL, out.Expires, err
}
