//! Where things are on the pages of the two web interfaces.

/// Selectors of one of them. Items of menus are those of the menu of a torrent.
pub struct Page {
    /// Its folder among what `scripts/setup-peers` fetched.
    pub folder: &'static str,
    /// A torrent in the list.
    pub row: &'static str,
    /// The dialog for adding: input of files, of an address, whether to start, what is said of the
    /// disk, and the button.
    pub files: &'static str,
    pub address: &'static str,
    pub starts: &'static str,
    pub free_space: &'static str,
    pub add: &'static str,
    /// The button that removes, and the one that confirms it.
    pub remove: &'static str,
    pub confirm: &'static str,
    /// The item that removes with the data.
    pub trash: &'static str,
    /// The item that renames, the input, and the button.
    pub rename: [&'static str; 3],
    /// The same for labels, which the older one does not know.
    pub labels: Option<[&'static str; 3]>,
    /// Alternative speed limits: their button, and the class it has while they are on.
    pub turtle: [&'static str; 2],
    /// Ways to the settings: what is clicked one after the other, something on the last page, and
    /// what closes it.
    pub settings: &'static [&'static str],
    pub setting: &'static str,
    pub close_settings: &'static str,
    /// Buttons of the inspector's pages.
    pub peers_tab: &'static str,
    pub trackers_tab: &'static str,
    pub files_tab: &'static str,
    /// A script that gives the first page as pairs.
    pub info: &'static str,
    /// Entries of the other pages.
    pub peer: &'static str,
    pub tracker: &'static str,
    pub file: &'static str,
}

/// Transmission 3.00's.
pub const OLDER: Page = Page {
    folder: "transmission-web-3",
    row: "#torrent_list > li",
    files: "#torrent_upload_file",
    address: "#torrent_upload_url",
    starts: "#torrent_auto_start",
    free_space: "#add-dialog-folder-label",
    add: "#upload_confirm_button",
    remove: "#toolbar-remove",
    confirm: "#dialog_confirm_button",
    trash: "#torrent_context_menu [data-command=remove_data]",
    rename: [
        "#torrent_context_menu [data-command=rename]",
        "#torrent_rename_name",
        "#rename_confirm_button",
    ],
    labels: None,
    turtle: ["#turtle-button", "selected"],
    settings: &["#prefs-button", "#prefs-tab-network"],
    setting: "#peer-port",
    close_settings: ".ui-dialog-titlebar-close",
    peers_tab: "#inspector-tab-peers",
    trackers_tab: "#inspector-tab-trackers",
    files_tab: "#inspector-tab-files",
    info: "return [...document.querySelectorAll('#inspector-page-info .row')].map(
        row => [...row.children].map(e => e.textContent.trim()))",
    peer: "#inspector_peers_list tr:has(td)",
    tracker: "#inspector_trackers_list .inspector_tracker_entry",
    file: "#inspector_file_list li",
};

/// Transmission 4.1's.
pub const NEWER: Page = Page {
    folder: "transmission-web",
    row: "#torrent-list > li",
    files: ".open-torrent input[type=file]",
    address: ".open-torrent input[type=url]",
    starts: "#auto-start-check",
    free_space: "#free-space-text",
    add: ".open-torrent .dialog-buttons button:last-child",
    remove: "#toolbar-delete",
    confirm: ".remove-dialog .dialog-buttons button:last-child",
    trash: "[data-action=trash-selected-torrents]",
    rename: [
        "[data-action=show-rename-dialog]",
        "#torrent-rename-name",
        ".rename-dialog .dialog-buttons button:last-child",
    ],
    labels: Some([
        "[data-action=show-labels-dialog]",
        "#torrent-labels",
        ".labels-dialog .dialog-buttons button:last-child",
    ]),
    turtle: ["#turtle", "alt-speed-enabled"],
    settings: &["#toolbar-overflow", "[data-action=show-preferences-dialog]", "#prefs-tab-network"],
    setting: "[data-key=peer_port]",
    close_settings: "#prefs-dialog .tabs-container-close",
    peers_tab: "#inspector-tab-peers",
    trackers_tab: "#inspector-tab-tiers",
    files_tab: "#inspector-tab-files",
    info: "return [...document.querySelectorAll('.inspector-info-page label')].map(
        label => [label, label.nextSibling].map(e => e.textContent.trim()))",
    peer: "#inspector .peer-row",
    tracker: "#inspector-tiers-list .tier-list-row",
    file: "#inspector-file-list .inspector-torrent-file-list-entry",
};
