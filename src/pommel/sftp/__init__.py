"""Files of another computer over SFTP: the protocol, copies of whole trees, and trees as archives."""
