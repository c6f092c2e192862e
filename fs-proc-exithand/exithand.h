/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /proc/<pid>/exithand: what its C and its Rust part know of each other, apart
 * from what the exit path calls (include/linux/exithand.h).
 */
#ifndef _FS_PROC_EXITHAND_H
#define _FS_PROC_EXITHAND_H

struct exithand_watch;
struct file;
struct file_operations;
struct inode;
struct seq_file;

/* Outcomes of exithand_attach(), apart from errors */
#define EXITHAND_ATTACHED	0	/* the process has taken the new watch */
#define EXITHAND_FOUND		1	/* the process had a watch already */
#define EXITHAND_EXITED		2	/* the process has exited */

/* attach.c */
struct exithand_watch *exithand_find(const struct inode *inode);
int exithand_attach(const struct inode *inode, struct exithand_watch *new,
		    struct exithand_watch **found, int *status);
void exithand_show_pid(struct seq_file *m, const struct file *file);

/* glue.rs */
extern const struct file_operations proc_exithand_operations;

#endif /* _FS_PROC_EXITHAND_H */
