// SPDX-License-Identifier: GPL-3.0-or-later

//go:build tools

// Package tools pins the etcd that local/node-image.sh builds.
package tools

import _ "go.etcd.io/etcd/server/v3"
