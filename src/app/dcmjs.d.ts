/** What is used of dcmjs to read a DICOMDIR; it ships no types. */
declare module 'dcmjs' {
  interface Element {
    Value?: unknown[];
  }
  const dcmjs: {
    data: {
      DicomMessage: {
        readFile(bytes: ArrayBuffer): { dict: Record<string, { Value?: Record<string, Element>[] }> };
      };
    };
  };
  export default dcmjs;
}
